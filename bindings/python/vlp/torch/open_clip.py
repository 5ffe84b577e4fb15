"""open_clip's losses, computed by vlp: the same names, arguments, values and gradients.

open_clip's losses take features as they are and a logit scale of which the exponential is taken already; vlp's
normalise the features and take the logarithm of the scale. `_lift` closes that gap exactly, for features of any
length. So the gradient for the features is that of open_clip too, whose part along the features is not zero.
"""
from __future__ import annotations

import importlib
import types
from typing import Any

import torch
from torch import Tensor, distributed, nn

from . import functional
from ._call import needs_dispatcher
from ._patch import Patch, replace

__all__ = ["ClipLoss", "SigLipLoss", "patch_open_clip"]


_EXTRA = 8  # columns of lifted features, as many as keep rows aligned


def _lifted(rows: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """Rows [B, D + _EXTRA] of one length, and the square of that length."""
    is_half = rows.dtype in (torch.float16, torch.bfloat16)
    square = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float32 if is_half else None).square()
    length = 2 * square.detach().amax() + 1e-6
    rest = length - square
    if is_half:
        rounded = (rest.detach().sqrt() * (1 - 2**-7)).to(rows.dtype)
        columns = torch.cat(((rest - rounded.float().square()).sqrt().to(rows.dtype), rounded), dim=1)
    else:
        columns = rest.sqrt()
    columns = nn.functional.pad(columns, (place, _EXTRA - place - columns.shape[1]))
    return torch.cat((rows, columns), dim=1), length


def _both_lifted(image: Tensor, text: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of vlp's losses whose scores are scale * image @ text.T: images and texts [B, D + _EXTRA], and log_scale.

    A row x becomes (x, l, h, 0, 0, 0, ...) for an image and (x, 0, 0, l, h, 0, ...) for a text, with one c for all rows
    and l and h such that |x|^2 + l^2 + h^2 = c^2. This changes no inner product of an image and a text, and their
    cosine times both lengths is that product, as is its derivative, whatever c and h are. h is 0, except in half
    precision, where l holds what h is rounded by.
    """
    image, image_length = _lifted(image, 0)
    text, text_length = _lifted(text, 2)
    factor = (image_length * text_length).sqrt()
    return image, text, (scale.to(factor.dtype) * factor).log()


class _Lift(torch.autograd.Function):
    """_both_lifted with its gradients in few operations, for plain tensors."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, text: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image, text, log_scale = _both_lifted(image, text, scale)
        ctx.save_for_backward(image, text, scale)
        return image, text, log_scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *lifted, scale = ctx.saved_tensors
        made: list[Tensor | None] = [None, None, None]
        for i, (rows, gradient) in enumerate(zip(lifted, gradients)):
            if ctx.needs_input_grad[i]:
                width = rows.shape[1] - _EXTRA
                of_rest = gradient.narrow(1, width + 2 * i, 1) / rows.narrow(1, width + 2 * i, 1)  # dl/dx = -x / l
                made[i] = torch.addcmul(gradient.narrow(1, 0, width), rows.narrow(1, 0, width), of_rest, value=-1)
        if ctx.needs_input_grad[2]:
            made[2] = gradients[2].to(scale.dtype) / scale
        return tuple(made)


def _lift(image: Tensor, text: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (_both_lifted if needs_dispatcher() else _Lift.apply)(image, text, scale)


class _GatherWithGradient(torch.autograd.Function):
    """Rows of all ranks, in their order; the gradient is the sum of what all ranks send back for this rank's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, world_size: int) -> Tensor:
        ctx.place = rank * len(rows), len(rows)
        parts = [torch.empty_like(rows) for _ in range(world_size)]
        distributed.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.narrow(0, *ctx.place), None, None


def _gather(rows: Tensor, world_size: int) -> Tensor:
    """Rows of all ranks, in their order, without a gradient."""
    parts = [torch.empty_like(rows) for _ in range(world_size)]
    distributed.all_gather(parts, rows.detach())
    return torch.cat(parts)


def _check(name: str, image: Tensor, text: Tensor) -> None:
    """A ValueError where open_clip's loss would fail, or be another loss than vlp's."""
    if image.ndim != 2 or image.shape != text.shape or not len(image):
        raise ValueError(f"{name}: image_features is {list(image.shape)} and text_features is {list(text.shape)}, "
                         "but both must be [B, D] of the same pairs, at least one")


def _number(name: str, given: Tensor | float) -> Tensor:
    """A tensor of rank 0."""
    if not isinstance(given, Tensor):
        return torch.tensor(given, dtype=torch.float64)
    if given.numel() != 1:
        raise ValueError(f"{name} must be one number, but is {list(given.shape)}")
    return given.reshape(()) if given.ndim else given


class ClipLoss(nn.Module):
    """The contrastive loss of CLIP (Radford et al., ICML 2021), with the arguments of open_clip's ClipLoss.

    Values and gradients are those of open_clip, for features of any length. With several ranks (`world_size` above 1)
    features are gathered over the default process group, and every rank must bring as many pairs:

    * `local_loss` scores this rank's features alone against those of all ranks, and the loss is this rank's share;
    * `gather_with_grad` sends gradients back to the ranks whose features were gathered. Without it the gathered
      features of other ranks are constants, and with `local_loss` this rank's own among them.

    `cache_labels` is taken and not used, since vlp makes no labels. The loss is a float32 number, or float64 where
    features are. ValueError for shapes that do not fit, and for `use_horovod`, which releases of open_clip have.
    """

    def __init__(self, local_loss: bool = False, gather_with_grad: bool = False, cache_labels: bool = False,
                 rank: int = 0, world_size: int = 1, use_horovod: bool = False) -> None:
        super().__init__()
        if use_horovod:
            raise ValueError("ClipLoss: gathers through torch.distributed, not through Horovod")
        self.local_loss = local_loss
        self.gather_with_grad = gather_with_grad
        self.cache_labels = cache_labels
        self.rank = rank
        self.world_size = world_size

    def forward(self, image_features: Tensor, text_features: Tensor, logit_scale: Tensor | float,
                logit_bias: Tensor | float | None = None, output_dict: bool = False) -> Tensor | dict[str, Tensor]:
        """The loss of pairs of image_features and text_features [B, D] with scores
        logit_scale * image_features @ text_features.T + logit_bias.

        logit_scale must be above 0 (the loss is NaN where it is not). logit_bias moves all scores alike, so it changes
        neither the loss nor any gradient. With output_dict the loss is returned as {"contrastive_loss": loss}.
        """
        _check("ClipLoss", image_features, text_features)
        logit_scale = _number("ClipLoss: logit_scale", logit_scale)
        if self.world_size == 1:
            image, text = image_features, text_features
        else:
            image, text = self._gather(image_features.contiguous()), self._gather(text_features.contiguous())
        if self.world_size > 1 and self.local_loss:
            loss = (self._pick_own(image_features, text, logit_scale)
                    + self._pick_own(text_features, image, logit_scale))
        else:
            loss = functional.info_nce(*_lift(image, text, logit_scale))
        if logit_bias is not None:
            loss = loss + 0 * _number("ClipLoss: logit_bias", logit_bias)
        return {"contrastive_loss": loss} if output_dict else loss

    def _gather(self, rows: Tensor) -> Tensor:
        if self.gather_with_grad:
            return _GatherWithGradient.apply(rows, self.rank, self.world_size)
        everyone = _gather(rows, self.world_size)
        if self.local_loss:
            return everyone
        first = self.rank * len(rows)
        return torch.cat((everyone[:first], rows, everyone[first + len(rows):]))

    def _pick_own(self, one: Tensor, others: Tensor, scale: Tensor) -> Tensor:
        """Half the cross-entropy of picking, for each row of this rank, its counterpart among those of all ranks."""
        return functional.info_nce(*_lift(one, others, scale), own_text=self.rank * len(one),
                                   image_to_text_weight=0.5, text_to_image_weight=0.0)


class SigLipLoss(nn.Module):
    """The pairwise sigmoid loss (Zhai et al., "Sigmoid loss for language image pre-training", ICCV 2023), with the
    arguments of open_clip's SigLipLoss.

    Values and gradients are those of open_clip, for features of any length. With several ranks (`world_size` above 1)
    the loss is that of this rank's images against the texts of all ranks, and gradients go back to the ranks of the
    texts; every rank must bring as many pairs. open_clip's four ways to exchange texts (`dist_impl` "bidir", "shift",
    "reduce", "gather") give this one result, so all four names are taken, and texts are gathered.

    `cache_labels` and `chunk_size` are taken and not used: vlp makes neither labels nor a matrix of scores. The loss
    is a float32 number, or float64 where features are. ValueError for shapes that do not fit and other names.
    """

    def __init__(self, cache_labels: bool = False, rank: int = 0, world_size: int = 1, dist_impl: str | None = None,
                 chunk_size: int = 0) -> None:
        super().__init__()
        self.cache_labels = cache_labels
        self.rank = rank
        self.world_size = world_size
        self.dist_impl = dist_impl or "bidir"
        self.chunk_size = chunk_size
        if self.dist_impl not in ("bidir", "shift", "reduce", "gather"):
            raise ValueError(f"SigLipLoss: dist_impl must be bidir, shift, reduce or gather, but is {dist_impl!r}")

    def forward(self, image_features: Tensor, text_features: Tensor, logit_scale: Tensor | float,
                logit_bias: Tensor | float | None, output_dict: bool = False) -> Tensor | dict[str, Tensor]:
        """The loss of pairs of image_features and text_features [B, D] with scores
        logit_scale * image_features @ text_features.T + logit_bias: the sum over all pairs of an image of this rank
        and a text of any, divided by B.

        logit_scale must be above 0 (the loss is NaN where it is not); a logit_bias of None is 0. With output_dict the
        loss is returned as {"contrastive_loss": loss}.
        """
        _check("SigLipLoss", image_features, text_features)
        logit_scale = _number("SigLipLoss: logit_scale", logit_scale)
        logit_bias = _number("SigLipLoss: logit_bias", 0.0 if logit_bias is None else logit_bias)
        text, own_text = text_features, 0
        if self.world_size > 1:
            text = _GatherWithGradient.apply(text_features.contiguous(), self.rank, self.world_size)
            own_text = self.rank * len(text_features)
        image, text, log_scale = _lift(image_features, text, logit_scale)
        loss = functional.pairwise_sigmoid(image, text, log_scale, logit_bias.to(log_scale), own_text=own_text)
        return {"contrastive_loss": loss} if output_dict else loss


def patch_open_clip(module: types.ModuleType | None = None) -> Patch:
    """Puts vlp's ClipLoss and SigLipLoss where those of open_clip.loss are: there, and in every module that has
    imported them by these names. `module` is a module that has them instead: a copy of open_clip's loss.py, say.

    Losses that are made already stay what they are, and so do CoCaLoss and DistillClipLoss. Returns a Patch:
    `restore()` undoes it, and so does the end of a `with` block. ImportError where open_clip is not installed;
    ValueError where `module` has neither loss.
    """
    return replace({"ClipLoss": ClipLoss, "SigLipLoss": SigLipLoss},
                   importlib.import_module("open_clip.loss") if module is None else module)
