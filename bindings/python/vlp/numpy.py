"""vlp's losses on NumPy arrays: a function a loss, with gradients on request.

    loss, d_image, d_text = vlp.numpy.info_nce(image, text, log_scale, gradients=("image", "text"))

Each function takes the loss's inputs in order or by name, and by name its options, numbers and

    outputs     names of further outputs, such as ("attention",)
    gradients   names of the inputs that the loss is to be differentiated by
    threads     how many threads may compute; 0: OMP_NUM_THREADS, or all processors

It returns the loss as a NumPy scalar or, where outputs or gradients are asked for, a named tuple of the loss, those outputs
and those gradients; the gradient by `image` is called `d_image`. The functions are made of the library's own description of
its losses, so that a new loss is here by itself; `help(vlp.numpy.info_nce)` says what each takes.

Arrays may be anything that numpy.asarray takes. Computation is in float64 where an embedding is float64 (or whole numbers),
else in float32; scalars do not count for that. Inputs are never written, and copied only where their rows do not lie
evenly in memory or their type has to change.
"""
from __future__ import annotations

import inspect
from typing import Any, Callable

import numpy as np
import numpy.typing as npt
import tvm_ffi

from ._arguments import Arguments, keyword
from ._functions import functions, result_type
from ._library import Array, Loss, library

_FURTHER = """
    The loss comes as a NumPy scalar or, where outputs or gradients are asked for, in a named tuple with them. `outputs` are
    names of further outputs, `gradients` those of inputs; a gradient has its input's shape and type. `threads` is how many
    threads may compute, 0 for OMP_NUM_THREADS or all processors.

    Raises ValueError for shapes and values that do not fit together, TypeError for arrays of other types."""

_FACE = (inspect.Parameter("outputs", inspect.Parameter.KEYWORD_ONLY, default=(), annotation=tuple[str, ...]),
         inspect.Parameter("gradients", inspect.Parameter.KEYWORD_ONLY, default=(), annotation=tuple[str, ...]),
         inspect.Parameter("threads", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=int))


class _Writable:
    """The memory of an array that is read-only, which DLPack does not pass on, as if it were not. vlp does not write it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}


def _tensor(array: np.ndarray) -> tvm_ffi.Tensor:
    return tvm_ffi.from_dlpack(array if array.flags.writeable else np.asarray(_Writable(array)))


def _has_even_rows(array: np.ndarray) -> bool:
    """Whether elements of the last dimension are adjacent, and the others make rows with one distance between them."""
    if array.flags.c_contiguous:
        return True
    distances, extents = array.strides, array.shape
    return (distances[-1] == array.itemsize and min(distances) >= 0
            and all(distances[d] == extents[d + 1] * distances[d + 1] for d in range(array.ndim - 2)))


def _of_type(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The array, or a copy of it where its type or its place in memory is another than the library reads."""
    if array.dtype == dtype and array.flags.aligned and _has_even_rows(array):
        return array
    return np.array(array, dtype=dtype, order="C", copy=True, subok=False)


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" and dtype.itemsize <= 8 or dtype.name == "bfloat16"


class _Call:
    """The inputs of one call as the library takes them, and what their gradients have to look like."""

    def __init__(self, loss: Loss, inputs: dict[str, Any]) -> None:
        self.loss = loss
        self.given = {name: np.asarray(value) for name, value in inputs.items()}
        known = {array.name: array for array in loss.inputs}
        embeddings = [array.dtype for name, array in self.given.items() if known[name].type == "number"]
        is_double = any(dtype.kind in "iu" or dtype.kind == "f" and dtype.itemsize == 8 for dtype in embeddings)
        self.number = "float64" if is_double else "float32"
        self.arrays = {name: self._convert(known[name], array) for name, array in self.given.items()}

    def _convert(self, known: Array, array: np.ndarray) -> np.ndarray:
        """An input of the type, and where it is a single number of the rank, that the loss takes."""
        kind = array.dtype.kind
        if known.type == "int64":
            if kind not in "iu" and array.size > 0:
                self._refuse(known, array, "whole numbers")
            if kind == "u" and array.size > 0 and array.max() > np.iinfo(np.int64).max:
                raise ValueError(f"{self.loss.name}: {known.name} has {array.max()}, which is beyond int64")
            return np.ascontiguousarray(array, dtype=np.int64)
        if known.type == "bool":
            if kind not in "biu":
                self._refuse(known, array, "bool")
            return np.ascontiguousarray(array if kind == "b" else array != 0).view(np.uint8)
        if kind not in "iu" and not _is_float(array.dtype):
            self._refuse(known, array, "float64, float32 or float16")
        out = _of_type(array, self.number)
        return out.reshape(()) if known.rank == 0 and out.size == 1 else out

    def _refuse(self, known: Array, array: np.ndarray, wanted: str) -> None:
        raise TypeError(f"{self.loss.name}: {known.name} must be of {wanted}, but is of {array.dtype}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: array.shape for name, array in self.arrays.items()}

    def new_gradient(self, name: str) -> np.ndarray:
        return np.empty(self.arrays[name].shape, self.number)

    def own_gradient(self, name: str, gradient: np.ndarray) -> Any:
        """A gradient as the caller gets it: of the input's shape, and of its type where that is one of floats."""
        given = self.given[name]
        if given.ndim == 0:
            return gradient[()]
        own = given.dtype.newbyteorder("=") if _is_float(given.dtype) else gradient.dtype
        return gradient.astype(own, copy=False).reshape(given.shape)


def _saved(count: int) -> np.ndarray:
    """Memory for what a forward saves, aligned as the library wants it."""
    alignment = library().description["saved_alignment"]
    count = max(count, 1)  # an empty array is anywhere
    memory = np.empty(count + alignment, np.uint8)
    first = -memory.ctypes.data % alignment
    return memory[first:first + count]


def _compute(arguments: Arguments, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    loss, known = arguments.loss, library()
    outputs = arguments.names("outputs", named.pop("outputs", ()), [one.name for one in loss.outputs[1:]])
    gradients = arguments.names("gradients", named.pop("gradients", ()), [one.name for one in loss.inputs if one.gradient])
    threads = named.pop("threads", 0)
    given = arguments.take(inputs, named)
    for name in gradients:
        if name not in given.inputs:
            raise ValueError(f"{loss.name}: the gradient by {name} is asked for, but {name} is not given")

    call = _Call(loss, given.inputs)
    arrays = {name: _tensor(array) for name, array in call.arrays.items()}
    tensors = [arrays.get(array.name) for array in loss.inputs]
    results = {one.name: np.empty(loss.output_shape(one, call.shapes()), loss.element_type(one, call.number))
               for one in loss.outputs if one.name == "loss" or one.name in outputs}
    d_inputs = {name: call.new_gradient(name) for name in gradients}
    to_outputs = [tvm_ffi.from_dlpack(array) for array in results.values()]
    to_gradients = [tvm_ffi.from_dlpack(array) for array in d_inputs.values()]

    def prepared(step: str, **what: tuple[str, ...]) -> Callable[..., Any]:
        return known.prepare(loss.name, call.number, step, given.options, **what)

    shapes = [tvm_ffi.Shape(call.arrays[one.name].shape) if one.name in arrays else None for one in loss.inputs]
    saved_bytes = prepared("saved_bytes")(threads, *given.numbers, *shapes)  # refuses shapes that do not fit together
    if gradients and loss.forward_backward:
        prepared("forward_backward", outputs=tuple(results), gradients=gradients)(
            threads, *given.numbers, 1.0, *tensors, *to_outputs, *to_gradients)
    else:
        saved = tvm_ffi.from_dlpack(_saved(saved_bytes))
        prepared("forward", outputs=tuple(results))(threads, *given.numbers, *tensors, *to_outputs, saved)
        if gradients:
            prepared("backward", gradients=gradients)(threads, *given.numbers, 1.0, *tensors, saved, *to_gradients)

    value = results["loss"][()]
    if not outputs and not gradients:
        return value
    names = ("loss", *(keyword(name) for name in outputs), *(f"d_{name}" for name in gradients))
    return result_type(loss.name, names)(value, *(results[name][()] for name in outputs),
                                          *(call.own_gradient(name, d_inputs[name]) for name in gradients))


_FUNCTIONS = functions(__name__, _compute, _FACE, npt.ArrayLike, _FURTHER)
__all__ = list(_FUNCTIONS)
globals().update(_FUNCTIONS)
