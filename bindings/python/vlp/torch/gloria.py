"""GLoRIA's losses (Huang et al., ICCV 2021), computed by vlp, with the arguments and results of gloria_loss.py.

Both losses return their two directions, image to text and text to image, as two numbers. One pass over the pairs
computes both, and as backward is told what each is multiplied by, one pass computes the gradients of both.
"""
from __future__ import annotations

import functools
import importlib
import math
import types
from typing import Any, Callable, Sequence

import torch
import tvm_ffi
from torch import Tensor, nn

from .._library import library
from . import functional
from ._call import needs_dispatcher
from ._losses import LOSSES, lift_of, times
from ._once import once
from ._patch import Patch, replace

__all__ = ["local_loss", "global_loss", "patch_gloria"]

Options = tuple[tuple[str, float], ...]

_WAITED_FOR = ("cpu",)  # devices whose numbers the host may read at any time


@functools.lru_cache(maxsize=1024)
def _step(device: str, loss: str, number: str, step: str, options: Options, weights: tuple[float, float] = (1.0, 1.0),
          outputs: tuple[str, ...] = (), gradients: tuple[str, ...] = (), add: bool = False) -> Callable[..., Any]:
    """A step over blocks of a loss whose directions have these weights."""
    options += ("image_to_text_weight", weights[0]), ("text_to_image_weight", weights[1])
    sums = () if step == "block_saved_bytes" else ("row_max", "row_sum", "column_max", "column_sum", "target_score")
    return library(device).prepare(loss, number, step, tuple(str(text) for option in options for text in option),
                                   outputs=outputs, gradients=gradients, sums=sums, add=add)


def _passes(first: float, second: float) -> list[tuple[tuple[float, float], float]]:
    """Backward passes, as weights of the directions and an upstream of both, for these upstreams of the two
    directions: one pass, or two where one cannot have both, since weights are not negative and finite."""
    if first == second:
        return [((1.0, 1.0), first)]
    larger = first if abs(first) > abs(second) else second
    if first * second >= 0 and math.isfinite(larger):
        return [((first / larger, second / larger), larger)]
    return [((1.0, 0.0), first), ((0.0, 1.0), second)]


class _BothWays(torch.autograd.Function):
    """Both directions of a contrastive loss, and its attention if `attention` is memory for it."""

    @staticmethod
    def forward(ctx: Any, loss: str, options: Options, numbers: tuple[int, ...], attention: Tensor | None,
                *inputs: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        one, other = inputs[:2]
        accumulator = torch.promote_types(one.dtype, torch.float32)
        place = one.device.type, loss, str(one.dtype).removeprefix("torch.")
        threads = torch.get_num_threads()
        shapes = (None if tensor is None else tvm_ffi.Shape(tensor.shape) for tensor in inputs)
        size = _step(*place, "block_saved_bytes", options)(threads, *numbers, *shapes)
        saved = torch.empty(size, dtype=torch.uint8, device=one.device)
        rows, columns = (one.new_empty((2, len(side)), dtype=accumulator) for side in (one, other))
        target = one.new_empty((), dtype=torch.float64)
        sums = (*rows, *columns, target)
        outputs, memory = ((), ()) if attention is None else (("attention",), (attention,))
        _step(*place, "accumulate", options, outputs=outputs)(threads, *numbers, *inputs, *sums, *memory, saved)
        ctx.call = place, options, numbers
        ctx.save_for_backward(saved, *sums, *inputs)
        # With weights of 1, each pair's score is a target of both directions.
        own = target / (2 * len(one))
        means = ((side[0].double() + side[1].double().log()).mean() - own for side in (rows, columns))
        return *(mean.to(accumulator) for mean in means), attention

    @staticmethod
    def backward(ctx: Any, first: Tensor | None, second: Tensor | None, attention: Tensor | None) -> tuple[Any, ...]:
        place, options, numbers = ctx.call
        if attention is not None:
            raise NotImplementedError(f"{place[1]}: attention maps have no gradient; detach() them")
        saved, *sums_and_inputs = ctx.saved_tensors
        sums, inputs = sums_and_inputs[:5], sums_and_inputs[5:]
        wanted = ctx.needs_input_grad[4:]
        names = tuple(array.name for array, want in zip(library(place[0]).losses[place[1]].inputs, wanted) if want)
        made = [torch.empty_like(tensor, memory_format=torch.contiguous_format)
                for tensor, want in zip(inputs, wanted) if want]

        def run(weights: tuple[float, float], upstream: float, into: Sequence[Tensor], add: bool = False) -> None:
            _step(*place, "differentiate", options, weights, gradients=names, add=add)(
                torch.get_num_threads(), *numbers, upstream, *inputs, *sums, saved, *into)

        if place[0] in _WAITED_FOR:
            host = (0.0 if upstream is None else upstream.item() for upstream in (first, second))
            for number, (weights, upstream) in enumerate(_passes(*host)):
                run(weights, upstream, made, add=number > 0)
        else:
            made = _on_device(run, first, second, made)
        if torch.is_grad_enabled():
            made = once(place[1], made, first, second, *inputs)
        made = iter(made)
        return None, None, None, None, *(next(made) if want else None for want in wanted)


def _on_device(run: Callable[..., None], first: Tensor | None, second: Tensor | None,
               made: Sequence[Tensor]) -> list[Tensor]:
    """The gradients for upstreams that only the device knows: one pass where both are the same tensor, as they are
    for a sum of the directions, or one is not there; otherwise two."""
    lift = max((lift_of(one.dtype) for one in made), default=1.0)
    if first is None or second is None or first.data_ptr() == second.data_ptr():
        run((float(first is not None), float(second is not None)), lift, made)
        return [times(one, (second if first is None else first) / lift) for one in made]
    others = [torch.empty_like(one) for one in made]
    run((1.0, 0.0), lift, made)
    run((0.0, 1.0), lift, others)
    return [times(one, first / lift) + times(other, second / lift) for one, other in zip(made, others)]


def _is_plain(one: Tensor, other: Tensor) -> bool:
    """Whether _BothWays takes them: tensors in memory of one type that the library has, and nobody who watches."""
    return (not needs_dispatcher() and all(type(each) in (Tensor, nn.Parameter) for each in (one, other))
            and one.device == other.device and one.device.type in ("cpu", "cuda")
            and one.layout is other.layout is torch.strided and one.dtype is other.dtype
            and str(one.dtype).removeprefix("torch.") in library(one.device.type).types)


def _both_ways(loss: str, options: Options, one: Tensor, other: Tensor, *rest: Tensor, wants_attention: bool = False,
               **numbers: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Both directions of a contrastive loss, and its attention if that is wanted. Where PyTorch compiles, or tensors
    are not plain, each direction is a call of its own, and attention is without a gradient."""
    if one.device.type == other.device.type == "cpu":
        one, other = (each.float() if each.dtype in (torch.float16, torch.bfloat16) else each for each in (one, other))
    if not _is_plain(one, other):
        run = functools.partial(getattr(functional, loss), one, other, *rest, **numbers, **dict(options))
        second = run(image_to_text_weight=0.0, text_to_image_weight=1.0)
        first = run(image_to_text_weight=1.0, text_to_image_weight=0.0,
                    **({"outputs": ("attention",)} if wants_attention else {}))
        return (first[0], second, first[1]) if wants_attention else (first, second, None)
    known = library(one.device.type).losses[loss]
    one, other = LOSSES[loss].ready((one.resolve_neg(), other.resolve_neg()), ())
    attention = one.new_empty(len(one), other.shape[1], one.shape[1]) if wants_attention else None
    return _BothWays.apply(loss, options, tuple((known.numbers | numbers).values()), attention, one, other, *rest,
                           *(None,) * (len(known.inputs) - 2 - len(rest)))


def local_loss(img_features: Tensor, words_emb: Tensor, cap_lens: Sequence[int] | Tensor, temp1: float = 4.0,
               temp2: float = 5.0, temp3: float = 10.0, agg: str = "sum") -> tuple[Tensor, Tensor, list[Tensor]]:
    """GLoRIA's local loss, of image regions and the words of reports: loss0, loss1 and att_maps.

    img_features [B, D, H, W] are the features of image regions, words_emb [B, D, L] those of words, of which the
    first cap_lens[i] of report i count: from the first token on, which in GLoRIA is [CLS]. temp1 sharpens the
    attention of words over regions, temp2 weighs the best aligned words of a pair, and temp3 scales the pairs'
    scores; all are above 0.

    loss0 is the cross-entropy of picking the report for each image, loss1 that of picking the image for each report:
    two float32 numbers, or float64 where features are. att_maps has [1, cap_lens[i], H, W] for each report: its
    words' attention over its own image. Differentiating att_maps is refused (NotImplementedError). ValueError for
    shapes and lengths that do not fit, and for an agg other than "sum": vlp has no mean over the words of a report.
    """
    if (img_features.ndim != 4 or words_emb.ndim != 3 or img_features.shape[:2] != words_emb.shape[:2]
            or not len(img_features)):
        raise ValueError(f"local_loss: img_features is {list(img_features.shape)} and words_emb is "
                         f"{list(words_emb.shape)}, but they must be [B, D, H, W] and [B, D, L] of the same pairs, at "
                         "least one")
    if agg != "sum":
        raise ValueError(f"local_loss: agg must be \"sum\", since vlp has no mean over words, but is {agg!r}")
    lengths = [int(length) for length in cap_lens]
    words = words_emb.shape[2]
    if len(lengths) != len(words_emb) or not all(1 <= length <= words for length in lengths):
        raise ValueError(f"local_loss: cap_lens must be {len(words_emb)} numbers from 1 to {words}, but is {lengths}")
    longest = max(lengths)
    loss0, loss1, attention = _both_ways(
        "local_alignment",
        (("attention_temperature", float(temp1)), ("word_temperature", float(temp2)),
         ("pair_temperature", float(temp3))),
        img_features.flatten(2).transpose(1, 2), words_emb[:, :, :longest].transpose(1, 2),
        torch.tensor(lengths, device=words_emb.device), wants_attention=True, word_capacity=sum(lengths))
    maps = attention.unflatten(2, img_features.shape[2:])
    return loss0, loss1, [maps[i:i + 1, :length] for i, length in enumerate(lengths)]


def _defined_global_loss(cnn_code: Tensor, rnn_code: Tensor, eps: float,
                         temp3: float | Tensor) -> tuple[Tensor, Tensor]:
    """The global loss by its definition, in plain PyTorch."""
    norms = cnn_code.norm(dim=1, keepdim=True) * rnn_code.norm(dim=1)
    scores = temp3 * (cnn_code @ rnn_code.T) / norms.clamp(min=eps)
    own = torch.arange(len(scores), device=scores.device)
    return nn.functional.cross_entropy(scores, own), nn.functional.cross_entropy(scores.T, own)


def global_loss(cnn_code: Tensor, rnn_code: Tensor, eps: float = 1e-8,
                temp3: float | Tensor = 10.0) -> tuple[Tensor, Tensor]:
    """GLoRIA's global loss, of images cnn_code [B, D] and their reports rnn_code [B, D]: loss0 and loss1.

    Scores are temp3, above 0, times cosines; loss0 is the cross-entropy of picking the report for each image, loss1
    that of picking the image for each report: two float32 numbers, or float64 where codes are.

    A cosine divides by the product of two norms, or by eps if that is larger. vlp normalises each code by itself,
    which is the same unless a product is below eps; with such a batch the loss is computed by its definition in plain
    PyTorch, or is NaN while PyTorch compiles, which cannot look at the norms. ValueError for shapes that do not fit.
    """
    if cnn_code.ndim != 2 or cnn_code.shape != rnn_code.shape or not len(cnn_code):
        raise ValueError(f"global_loss: cnn_code is {list(cnn_code.shape)} and rnn_code is {list(rnn_code.shape)}, but "
                         "both must be [B, D] of the same pairs, at least one")
    if not isinstance(temp3, Tensor) and not temp3 > 0:
        raise ValueError(f"global_loss: temp3 must be above 0, but is {temp3}")
    with torch.no_grad():
        shortest = [code.float().norm(dim=1).amin() for code in (cnn_code, rnn_code)]
        is_short = (shortest[0] * shortest[1] < eps) | (torch.minimum(*shortest) < 1e-12)
    if not torch.compiler.is_compiling() and is_short:
        return _defined_global_loss(cnn_code, rnn_code, eps, temp3)
    accumulator = torch.promote_types(cnn_code.dtype, torch.float32)
    log_scale = torch.as_tensor(temp3, device=cnn_code.device).to(accumulator).log().reshape(())
    loss0, loss1, _ = _both_ways("info_nce", (), cnn_code, rnn_code, log_scale)
    if torch.compiler.is_compiling():
        loss0, loss1 = (loss.masked_fill(is_short, math.nan) for loss in (loss0, loss1))
    return loss0, loss1


def patch_gloria(module: types.ModuleType | None = None) -> Patch:
    """Puts vlp's local_loss and global_loss where those of gloria.loss.gloria_loss are: there, and in every module that
    has imported them by these names. `module` is a module that has them instead: a copy of gloria_loss.py, say.

    Models look these functions up when they are made, so patch before. Returns a Patch: `restore()` undoes it, and so
    does the end of a `with` block. ImportError where GLoRIA is not installed; ValueError where `module` has neither
    function.
    """
    return replace({"local_loss": local_loss, "global_loss": global_loss},
                   importlib.import_module("gloria.loss.gloria_loss") if module is None else module)
