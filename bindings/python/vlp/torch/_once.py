"""Gradients that cannot be differentiated again."""
from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor


class _Once(torch.autograd.Function):
    """Gradients as they are, of which the derivative is refused."""

    @staticmethod
    def forward(name: str, count: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(one.view_as(one) for one in tensors[:count])

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.name = inputs[0]

    @staticmethod
    def backward(ctx, *upstream):
        raise NotImplementedError(f"{ctx.name}: its gradients cannot be differentiated again")


def once(name: str, gradients: Sequence[Tensor], *tensors: Tensor | None) -> tuple[Tensor, ...]:
    """The gradients of a loss, made such that autograd refuses to go on from them to the tensors that they come from.

    Without this, gradients would be constants in the eyes of autograd, and what depends on them silently wrong.
    """
    return _Once.apply(name, len(gradients), *gradients, *tensors)
