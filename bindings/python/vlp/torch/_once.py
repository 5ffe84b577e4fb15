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


def once(name: str, gradients: Sequence[Tensor], *tensors: Tensor | None) -> Sequence[Tensor]:
    """The gradients, made by a backward that autograd records, if it does, so that differentiating them is refused."""
    return _Once.apply(name, len(gradients), *gradients, *tensors) if torch.is_grad_enabled() else gradients


def spread(gradients: Sequence[Tensor], wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """The gradients in order at the places where one is wanted, and None elsewhere."""
    rest = iter(gradients)
    return tuple(next(rest) if one else None for one in wanted)
