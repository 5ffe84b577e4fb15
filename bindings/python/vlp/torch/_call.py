"""Calls of the losses: what they take is made what the passes take, and sent one of two ways.

Plain tensors in eager mode take a torch.autograd.Function around the passes, which costs a fraction of the
dispatcher's way through Python. Everything else (torch.compile, fake and meta tensors, subclasses of Tensor,
torch.func) takes the operators.
"""
from __future__ import annotations

import collections
from typing import Any, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ._losses import LOSSES, Arguments, TorchLoss, accumulator_of, constant_to_compilers, times, type_name
from ._once import once
from ._operators import OPERATORS

_HALVES = (torch.float16, torch.bfloat16)
_FLOATS = (torch.float32, torch.float64, *_HALVES)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_PLAIN = (Tensor, torch.nn.Parameter)


class _Eager(torch.autograd.Function):
    """A loss of plain tensors."""

    @staticmethod
    def forward(ctx, loss: TorchLoss, given: Arguments, *tensors: Tensor | None):
        ctx.set_materialize_grads(False)
        needs = ctx.needs_input_grad
        gradients = tuple([i for i in loss.differentiable if needs[2 + i]])
        ctx.call = loss, given, gradients
        if gradients and loss.at_once(tensors[0]):
            value, others, made = loss.forward_backward(tensors, given, gradients)
            ctx.save_for_backward(None, *tensors, *made)
        else:
            value, saved, others = loss.forward(tensors, given)
            ctx.save_for_backward(saved, *tensors)
        if not others:
            return value
        ctx.mark_non_differentiable(*others)
        return value, *others

    @staticmethod
    def backward(ctx, upstream: Tensor | None, *_):
        loss, given, gradients = ctx.call
        out: list[Tensor | None] = [None] * (2 + len(loss.inputs))
        if upstream is None:
            return tuple(out)
        saved, *rest = ctx.saved_tensors
        tensors, made = rest[:len(loss.inputs)], rest[len(loss.inputs):]
        if saved is None:
            made = [times(one, upstream) for one in made]
        else:
            made = loss.backward(upstream, saved, tensors, given, gradients)
        if torch.is_grad_enabled():
            made = once(loss.name, made, upstream, *tensors)
        for i, one in zip(gradients, made):
            out[2 + i] = one
        return tuple(out)

    @staticmethod
    def jvp(ctx, *_):
        raise NotImplementedError(f"{ctx.call[0].name}: has no forward-mode derivative")


_RESULT_TYPES: dict[tuple[str, tuple[str, ...]], type] = {}


@constant_to_compilers
def _make_result_type(loss: str, outputs: tuple[str, ...]) -> None:
    """Makes the named tuple of a loss and further outputs. Python's word `global` is the field `global_`."""
    name = "".join(part.capitalize() for part in loss.split("_")) + "Result"
    fields = ("loss", *("global_" if one == "global" else one for one in outputs))
    _RESULT_TYPES.setdefault((loss, outputs), collections.namedtuple(name, fields))


def _check_tensor(loss: str, name: str, given: Any, device: torch.device) -> None:
    if not isinstance(given, Tensor):
        raise TypeError(f"{loss}: {name} must be a tensor, but is of type {type(given).__name__}")
    if given.device != device:
        raise TypeError(f"{loss}: {name} is on {given.device}, but tensors before it are on {device}")
    if given.layout is not torch.strided:
        raise TypeError(f"{loss}: {name} must be dense, but its layout is {type_name(given.layout)}")


def _floating(loss: str, name: str, given: Any, device: torch.device) -> Tensor:
    """A tensor of floating-point numbers."""
    _check_tensor(loss, name, given, device)
    if given.dtype not in _FLOATS:
        raise TypeError(f"{loss}: {name} must have elements of a floating-point type, but they are of type "
                        f"{type_name(given.dtype)}")
    return given


def _common_type(loss: str, tensors: dict[str, Tensor]) -> torch.dtype:
    """The type that embeddings of these types are computed in: halves beside others, or not on CUDA, become float32."""
    (first_name, first), *rest = tensors.items()
    types = [one.dtype for one in tensors.values()]
    if first.dtype in _HALVES and first.device.type == "cuda" and all(one is first.dtype for one in types):
        return first.dtype
    types = [torch.float32 if one in _HALVES else one for one in types]
    for (name, one), dtype in zip(rest, types[1:]):
        if dtype is not types[0]:
            raise TypeError(f"{loss}: {name} has elements of type {type_name(one.dtype)}, but those of {first_name} "
                            f"are of type {type_name(first.dtype)}")
    return types[0]


def _scalar(loss: str, name: str, given: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A learned number: a Python number, or a tensor of one element."""
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return torch.full((), given, dtype=dtype, device=device)
    given = _floating(loss, name, given, device)
    if given.dim() and given.numel() == 1:
        given = given.reshape(())
    return given.to(dtype)


def _integers(loss: str, name: str, given: Any, device: torch.device) -> Tensor:
    """Whole numbers, as int64."""
    _check_tensor(loss, name, given, device)
    if given.dtype not in _INTEGERS:
        raise TypeError(f"{loss}: {name} must have elements of an integer type, but they are of type "
                        f"{type_name(given.dtype)}")
    return given.to(torch.int64)


def _truths(loss: str, name: str, given: Any, device: torch.device) -> Tensor:
    """Yes or no for each: bool, or an integer type, such as that of attention masks."""
    _check_tensor(loss, name, given, device)
    if given.dtype is not torch.bool and given.dtype not in _INTEGERS:
        raise TypeError(f"{loss}: {name} must have elements of type bool or of an integer type, but they are of type "
                        f"{type_name(given.dtype)}")
    return given if given.dtype in (torch.bool, torch.uint8) else given != 0


def _converted(loss: TorchLoss, given: Sequence[Any]) -> list[Tensor | None]:
    """The inputs as the library takes them."""
    out = list(given)
    first, first_name = given[0], loss.input_names[0]
    if first is None:
        raise ValueError(f"{loss.name}: {first_name} is not given")
    if not isinstance(first, Tensor):
        raise TypeError(f"{loss.name}: {first_name} must be a tensor, but is of type {type(first).__name__}")
    device = first.device
    if device.type not in ("cpu", "cuda", "meta"):
        raise TypeError(f"{loss.name}: takes tensors on the CPU and on CUDA devices, but {first_name} is on {device}")
    dtype = _common_type(loss.name, {array.name: _floating(loss.name, array.name, one, device)
                                     for array, one in zip(loss.inputs, given)
                                     if array.type == "number" and one is not None})
    for i, (array, one) in enumerate(zip(loss.inputs, given)):
        if one is None:
            continue
        if array.type == "number":
            out[i] = one.to(dtype)
        elif array.type == "accumulator":
            out[i] = _scalar(loss.name, array.name, one, device, accumulator_of(dtype))
        elif array.type == "int64":
            out[i] = _integers(loss.name, array.name, one, device)
        else:
            out[i] = _truths(loss.name, array.name, one, device)
    return out


def needs_dispatcher() -> bool:
    """Whether something watches or transforms what operators do, besides what tensors say of themselves."""
    return (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
            or torch._C._len_torch_dispatch_stack() > 0)


def _is_ready(loss: TorchLoss, given: Sequence[Any]) -> bool:
    """Whether inputs are what the passes take. Quick, and false where that is not easily seen."""
    first = given[0]
    if first.__class__ not in _PLAIN:
        return False
    dtype, device = first.dtype, first.device
    if device.type != "cuda" and (device.type != "cpu" or dtype in _HALVES) or dtype not in _FLOATS:
        return False
    types = {"number": dtype, "accumulator": accumulator_of(dtype), "int64": torch.int64, "bool": torch.bool}
    for (kind, is_number), one in zip(loss.kinds, given):
        if one is not None and (one.__class__ not in _PLAIN or one.dtype is not types[kind] or one.device != device
                                or one.layout is not torch.strided or one.is_neg()
                                or (one.dim() if is_number else not one.is_contiguous())):
            return False
    return True


def _outputs_of(loss: TorchLoss, outputs: Sequence[str]) -> tuple[str, ...]:
    outputs = tuple(outputs)
    for i, one in enumerate(outputs):
        if one not in loss.output_names or one in outputs[:i]:
            raise ValueError(f"{loss.name}: outputs must be different ones of {', '.join(loss.output_names)}, but are "
                             f"{', '.join(outputs)}")
    return outputs


def call(name: str, inputs: Sequence[Any], numbers: tuple[int, ...], options: tuple[Any, ...],
         outputs: Sequence[str] = ()) -> Any:
    """A loss of inputs, numbers and options in the description's order; a named tuple where outputs are asked for."""
    loss = LOSSES[name]
    given = Arguments(numbers, options, _outputs_of(loss, outputs) if outputs else ())
    takes_operator = needs_dispatcher()
    tensors = inputs
    if takes_operator or not _is_ready(loss, inputs):
        tensors = _converted(loss, inputs)
        takes_operator = (takes_operator or tensors[0].device.type == "meta"
                          or any(one is not None and type(one) not in _PLAIN for one in tensors))
        if not takes_operator:
            tensors = loss.ready([one if one is None else one.resolve_neg() for one in tensors], options)
    if takes_operator:
        results = OPERATORS[name](tensors, given)
    elif (torch.is_grad_enabled() and any([one is not None and one.requires_grad for one in tensors])
          or forward_ad._current_level >= 0):
        results = _Eager.apply(loss, given, *tensors)
    else:
        value, _, others = loss.forward(tensors, given)
        results = (value, *others)
    if not outputs:
        return results if isinstance(results, Tensor) else results[0]
    key = name, given.outputs
    if torch.compiler.is_compiling() or key not in _RESULT_TYPES:  # a dictionary is read once while compiling
        _make_result_type(*key)
    return _RESULT_TYPES[key](*results)
