"""The passes of the losses on torch tensors, without automatic differentiation."""
from __future__ import annotations

import functools
from typing import Any, Callable, NamedTuple, Sequence

import torch
import tvm_ffi
from torch import Tensor

from .._library import Loss, library


def accumulator_of(dtype: torch.dtype) -> torch.dtype:
    """The type of the loss and of learned numbers, where embeddings are of type `dtype`."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def type_name(dtype: torch.dtype) -> str:
    """The name of a type as NumPy and the library have it."""
    return str(dtype).removeprefix("torch.")


def constant_to_compilers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a function whose result torch.compile may take for a constant.

    Does what torch.compiler.assume_constant_result does, except for importing the compiler, which takes a second.
    """
    function._dynamo_marked_constant = True
    return function


def _library_of(device: str):
    """The library for tensors on a device; shapes of meta tensors are checked by that of the CPU."""
    return library("cuda" if device == "cuda" else "cpu")


def _takes_strides(tensor: Tensor) -> bool:
    """Whether the library takes the strides of a tensor: adjacent in the last dimension, and no element twice."""
    if tensor.is_contiguous():
        return True
    places = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape) if size > 1)
    return tensor.stride(-1) == 1 and all(0 < stride * size <= next_stride
                                          for (stride, size), (next_stride, _) in zip(places, places[1:]))


@functools.lru_cache(maxsize=4096)
def _pass_of(device: str, loss: str, dtype: torch.dtype, step: str, options: tuple[Any, ...],
             outputs: tuple[str, ...] = (), gradients: tuple[str, ...] = ()) -> Callable[..., Any]:
    """A pass of a loss; `options` are the values of all its options in their order."""
    known = _library_of(device)
    number = type_name(dtype)
    if number not in known.types:
        raise TypeError(f"{loss}: takes {', '.join(known.types)} on {device} tensors, not {number}")
    texts: list[str] = []
    for option, value in zip(known.losses[loss].options.values(), options):
        texts += option.name, option.text(value)
    return known.prepare(loss, number, step, tuple(texts), outputs=outputs, gradients=gradients)


@functools.lru_cache(maxsize=4096)
def _saved_bytes(device: str, loss: str, dtype: torch.dtype, options: tuple[Any, ...], numbers: tuple[int, ...],
                 shapes: tuple[Sequence[int] | None, ...]) -> int:
    """The bytes that a forward of inputs of these shapes saves."""
    given = (None if shape is None else tvm_ffi.Shape(shape) for shape in shapes)
    return _pass_of(device, loss, dtype, "saved_bytes", options)(0, *numbers, *given)


@functools.lru_cache(maxsize=4096)
def _forward_of(device: str, loss: str, dtype: torch.dtype, options: tuple[Any, ...], numbers: tuple[int, ...],
                shapes: tuple[Sequence[int] | None, ...], outputs: tuple[str, ...]) -> tuple[Callable[..., Any], int]:
    """Forward of inputs of these shapes, and the bytes that it saves."""
    return (_pass_of(device, loss, dtype, "forward", options, ("loss", *outputs)),
            _saved_bytes(device, loss, dtype, options, numbers, shapes))


@functools.cache
def _has_forward_backward(device: str, loss: str) -> bool:
    return device != "meta" and _library_of(device).losses[loss].forward_backward


@constant_to_compilers  # which look through functools.cache
def _does_both_at_once(device: str, loss: str) -> bool:
    return _has_forward_backward(device, loss)


class Arguments(NamedTuple):
    """What a call of a loss is given besides tensors, in the description's order."""

    numbers: tuple[int, ...]
    options: tuple[Any, ...]
    outputs: tuple[str, ...]  # further ones, in the order in which they are wanted


def lift_of(dtype: torch.dtype) -> float:
    """The upstream for which a CUDA device computes gradients of this type, before they are multiplied by the true one, which
    only the device knows: those of float16 may be as small as one over the batch."""
    return 256.0 if dtype is torch.float16 else 1.0


def times(gradient: Tensor, upstream: Tensor) -> Tensor:
    """Their product, in the gradient's type, but multiplied in upstream's: rounded to 16 bits, upstream would be wrong by the
    same share for all gradients, and a GradScaler's may be beyond float16."""
    return (gradient.to(upstream.dtype) * upstream).to(gradient.dtype)


class TorchLoss:
    """A loss on torch tensors, made of the library's description."""

    def __init__(self, loss: Loss) -> None:
        self.name = loss.name
        self.inputs = loss.inputs
        self.input_names = tuple(one.name for one in loss.inputs)
        self.differentiable = tuple(i for i, one in enumerate(loss.inputs) if one.gradient)
        self.outputs = tuple(one for one in loss.outputs if one.name != "loss")
        self.output_names = tuple(one.name for one in self.outputs)
        self.numbers = tuple(loss.numbers)
        self.options = tuple(loss.options.values())
        self.kinds = tuple((one.type, one.rank == 0) for one in loss.inputs)

    def at_once(self, first: Tensor) -> bool:
        """Whether forward computes the gradients too, for less work than in two passes.

        They are then multiplied by upstream in backward. float16 has not the range for that.
        """
        return first.dtype is not torch.float16 and _does_both_at_once(first.device.type, self.name)

    def saved_bytes(self, tensors: Sequence[Tensor | None], numbers: tuple[int, ...], options: tuple[Any, ...]) -> int:
        """The bytes that forward saves."""
        first = tensors[0]
        shapes = tuple([None if one is None else one.shape for one in tensors])
        return _saved_bytes(first.device.type, self.name, first.dtype, options, numbers, shapes)

    def new_output(self, name: str, tensors: Sequence[Tensor | None]) -> Tensor:
        """Memory for a further output of a forward of these inputs."""
        first = tensors[0]
        if name not in ("similarity", "attention"):
            return first.new_empty((), dtype=accumulator_of(first.dtype))
        regions, words = (tensors[self.input_names.index(one)] for one in ("regions", "words"))
        if regions is None or words is None:
            raise ValueError(f"{self.name}: {name} is of regions and words, which are not given")
        if name == "similarity":
            return first.new_empty((regions.shape[0], words.shape[0]))
        return first.new_empty((regions.shape[0], words.shape[1], regions.shape[1]))

    def ready(self, tensors: Sequence[Tensor | None], options: tuple[Any, ...]) -> tuple[Tensor | None, ...]:
        """The same tensors, contiguous where the library does not take their strides."""
        needs_rows_evenly = self.name == "multi_scale" and options[2]  # perturbed_as_negatives
        return tuple([one if one is None or _takes_strides(one) and not needs_rows_evenly else one.contiguous()
                      for one in tensors])

    def forward(self, tensors: Sequence[Tensor | None], given: Arguments) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The loss, what backward needs, and the outputs asked for."""
        numbers, options, outputs = given
        first = tensors[0]
        device, dtype = first.device, first.dtype
        shapes = tuple([None if one is None else one.shape for one in tensors])
        run, saved_bytes = _forward_of(device.type, self.name, dtype, options, numbers, shapes, outputs)
        loss = first.new_empty((), dtype=accumulator_of(dtype))
        others = [self.new_output(name, tensors) for name in outputs]
        saved = torch.empty(saved_bytes, dtype=torch.uint8, device=device)
        run(torch.get_num_threads(), *numbers, *tensors, loss, *others, saved)
        return loss, saved, others

    def forward_backward(self, tensors: Sequence[Tensor | None], given: Arguments,
                         gradients: tuple[int, ...]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The loss, the outputs asked for, and its gradients for the inputs at these places."""
        numbers, options, outputs = given
        first = tensors[0]
        run = _pass_of(first.device.type, self.name, first.dtype, "forward_backward", options, ("loss", *outputs),
                       self.names(gradients))
        loss = first.new_empty((), dtype=accumulator_of(first.dtype))
        others = [self.new_output(name, tensors) for name in outputs]
        made = self.new_gradients(tensors, gradients)
        run(torch.get_num_threads(), *numbers, 1.0, *tensors, loss, *others, *made)
        return loss, others, made

    def names(self, places: tuple[int, ...]) -> tuple[str, ...]:
        """The names of the inputs at these places."""
        return tuple([self.input_names[i] for i in places])

    def new_gradients(self, tensors: Sequence[Tensor | None], places: tuple[int, ...]) -> list[Tensor]:
        """Memory for the gradients of the inputs at these places."""
        return [torch.empty_like(tensors[i], memory_format=torch.contiguous_format) for i in places]

    def backward(self, upstream: Tensor, saved: Tensor, tensors: Sequence[Tensor | None], given: Arguments,
                 gradients: tuple[int, ...]) -> list[Tensor]:
        """Upstream times the gradients for the inputs at these places."""
        first = tensors[0]
        made = self.new_gradients(tensors, gradients)
        device, dtype = first.device.type, first.dtype
        run = _pass_of(device, self.name, dtype, "backward", given.options, (), self.names(gradients))
        if device == "cpu":
            run(torch.get_num_threads(), *given.numbers, upstream.item(), *tensors, saved, *made)
            return made
        # The library takes upstream from the host. It is multiplied in on the device instead, so that nobody waits for
        # it.
        lift = lift_of(dtype)
        run(0, *given.numbers, lift, *tensors, saved, *made)
        upstream = upstream if lift == 1 else upstream / lift
        return [times(one, upstream) for one in made]


LOSSES = {name: TorchLoss(loss) for name, loss in library().losses.items()}
