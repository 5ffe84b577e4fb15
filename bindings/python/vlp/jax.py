"""vlp's losses on JAX arrays: a function a loss, under jit and differentiated in reverse.

    loss, d_text = jax.value_and_grad(lambda text: vlp.jax.info_nce(image, text, log_scale))(text)

Each function takes the loss's inputs in order or by name, and by name its options, numbers and

    outputs     names of further outputs, such as ("attention",); they are not differentiated
    threads     how many threads of the CPU may compute; 0: OMP_NUM_THREADS, or all processors

Options, numbers, outputs and threads are constants of the compiled program. It returns the loss or, where outputs are asked
for, a named tuple of it and those. The functions are made of the library's own description of its losses, so that a new
loss is here by itself; `help(vlp.jax.info_nce)` says what each takes.

They compute on JAX's default device: the CPU, where float16 and bfloat16 are computed in float32 and float64 needs
jax_enable_x64, or a CUDA device. Shapes that do not fit together raise ValueError when the function is traced; values that do
not (a word_count of 0) raise JAX's runtime error, with vlp's sentence in it, when the program runs. There are no forward-mode
and second derivatives and no vmap: each is refused. The work of a loss is not divided among devices: jit gathers arrays that
are sharded over several of them, and each computes the whole; under shard_map each computes the loss of its own part.

Each loss with other options takes a place of the 1024 that jax_tvm_ffi has for functions in a process, its gradient another.
"""
from __future__ import annotations

import functools
import hashlib
import inspect
from dataclasses import dataclass
from typing import Any, Callable

import jax
import jax.numpy as jnp
import jax_tvm_ffi
import numpy as np
import tvm_ffi

from ._arguments import Arguments, keyword
from ._functions import functions, result_type
from ._library import Array, Loss, library

_FURTHER = """
    The loss comes as a scalar or, where `outputs` are asked for, in a named tuple with them; further outputs are not
    differentiated. `threads` is how many threads of the CPU may compute, 0 for OMP_NUM_THREADS or all processors.

    Raises ValueError for shapes that do not fit together, TypeError for arrays of other types."""

_FACE = (inspect.Parameter("outputs", inspect.Parameter.KEYWORD_ONLY, default=(), annotation=tuple[str, ...]),
         inspect.Parameter("threads", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=int))


@dataclass(frozen=True)
class _Program:
    """All that a compiled program has to know of a call, except the shapes of its arrays."""

    loss: str
    device: str
    number: str
    inputs: tuple[str, ...]  # those that are given
    numbers: tuple[int, ...]
    options: tuple[str, ...]
    outputs: tuple[str, ...]  # the loss first
    threads: int

    @property
    def known(self) -> Loss:
        return library(self.device).losses[self.loss]

    def prepared(self, step: str, **what: tuple[str, ...]) -> Callable[..., Any]:
        return library(self.device).prepare(self.loss, self.number, step, self.options, inputs=self.inputs, **what)

    def saved_bytes(self, shapes: dict[str, tuple[int, ...]]) -> int:
        """How much a forward saves; a ValueError for shapes that do not fit together."""
        return self.prepared("saved_bytes")(self.threads, *self.numbers,
                                            *(tvm_ffi.Shape(shapes[name]) for name in self.inputs))

    def result(self, name: str, shapes: dict[str, tuple[int, ...]]) -> jax.ShapeDtypeStruct:
        """The shape and type of an output."""
        output = next(one for one in self.known.outputs if one.name == name)
        return jax.ShapeDtypeStruct(self.known.output_shape(output, shapes), self.known.element_type(output, self.number))


@functools.cache
def _target(program: _Program, step: str, gradients: tuple[str, ...]) -> str:
    """The name that XLA knows a pass by. It tells all that the pass depends on, so that programs that JAX keeps for later
    processes mean the same there."""
    first = (program.threads, *program.numbers, *((1.0,) if gradients else ()))
    outputs = () if step == "backward" else program.outputs
    function = library(program.device).module.bind(program.prepared(step, outputs=outputs, gradients=gradients), first)
    text = repr((program, step, gradients))
    name = f"vlp_{program.loss}_{step}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    jax_tvm_ffi.register_ffi_target(name, function, ["args", "rets"], {"cpu": "cpu", "cuda": "gpu"}[program.device])
    return name


def _call(program: _Program, step: str, arrays: tuple[jax.Array, ...], results: tuple[jax.ShapeDtypeStruct, ...],
          gradients: tuple[str, ...] = ()) -> tuple[jax.Array, ...]:
    """Runs a pass. JAX would batch and differentiate it with sentences of its own, which do not say of what."""
    @jax.custom_batching.custom_vmap
    def run(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(jax.ffi.ffi_call(_target(program, step, gradients), results)(*arrays))

    @run.def_vmap
    def refuse_vmap(*_: Any) -> Any:
        raise NotImplementedError(f"vlp.jax.{program.loss}: has no vmap; a loss is over the pairs of one batch "
                                  "(jax.lax.map calls it for one batch after the other)")

    @jax.custom_jvp
    def run_once(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        return run(*arrays)

    @run_once.defjvp
    def refuse_derivative(*_: Any) -> Any:
        raise NotImplementedError(f"vlp.jax.{program.loss}: can be differentiated once, in reverse; "
                                  "it has no second derivatives")

    return run_once(*arrays)


def _shapes(program: _Program, arrays: tuple[jax.Array, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs by name, whole numbers in two halves counted once."""
    known = {one.name: one for one in program.known.inputs}
    return {name: array.shape[:-1] if known[name].type == "int64" and array.dtype == jnp.int32 else array.shape
            for name, array in zip(program.inputs, arrays, strict=True)}


def _forward(program: _Program, arrays: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """The outputs, and what backward needs."""
    shapes = _shapes(program, arrays)
    saved = jax.ShapeDtypeStruct((max(program.saved_bytes(shapes), 1),), jnp.uint8)
    results = (*(program.result(name, shapes) for name in program.outputs), saved)
    *outputs, saved = _call(program, "forward", arrays, results)
    return tuple(outputs), saved


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(program: _Program, arrays: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return _forward(program, arrays)[0]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["arrays"], meta_fields=["gradients"])
@dataclass(frozen=True)
class _Kept:
    """What is kept for backward: the inputs and what forward saved or, if that came at once, the gradients."""

    gradients: tuple[str, ...]  # of the inputs that are differentiated by
    arrays: tuple[jax.Array, ...]


def _loss_forward(program: _Program, primals: tuple[Any, ...]) -> tuple[tuple[jax.Array, ...], _Kept]:
    arrays = tuple(one.value for one in primals)
    gradients = tuple(name for name, one in zip(program.inputs, primals, strict=True) if one.perturbed)
    if not program.known.forward_backward or not gradients:
        outputs, saved = _forward(program, arrays)
        return outputs, _Kept(gradients, (*arrays, saved))
    shapes = _shapes(program, arrays)
    program.saved_bytes(shapes)  # refuses shapes
    results = (*(program.result(name, shapes) for name in program.outputs), *_like(program, arrays, gradients))
    all_results = _call(program, "forward_backward", arrays, results, gradients)
    count = len(program.outputs)
    return all_results[:count], _Kept(gradients, all_results[count:])


def _like(program: _Program, arrays: tuple[jax.Array, ...], gradients: tuple[str, ...]) -> tuple[Any, ...]:
    by_name = dict(zip(program.inputs, arrays))
    return tuple(jax.ShapeDtypeStruct(by_name[name].shape, by_name[name].dtype) for name in gradients)


def _loss_backward(program: _Program, kept: _Kept, cotangents: tuple[Any, ...]) -> tuple[tuple[Any, ...]]:
    upstream = cotangents[0]  # of the loss; further outputs are not differentiated
    if not kept.gradients or isinstance(upstream, jax.custom_derivatives.SymbolicZero):
        return (tuple(None for _ in program.inputs),)
    found = kept.arrays
    if not program.known.forward_backward:
        inputs = kept.arrays[:-1]
        found = _call(program, "backward", kept.arrays, _like(program, inputs, kept.gradients), kept.gradients)
    by_name = {name: (one * upstream).astype(one.dtype) for name, one in zip(kept.gradients, found, strict=True)}
    return (tuple(by_name.get(name) for name in program.inputs),)


_loss.defvjp(_loss_forward, _loss_backward, symbolic_zeros=True)


def _device() -> str:
    """The library's name for what JAX computes on by default."""
    default = jax.config.jax_default_device
    platform = default if isinstance(default, str) else default.platform if default else jax.default_backend()
    if platform in ("gpu", "cuda"):
        return "cuda"
    if platform != "cpu":
        raise NotImplementedError(f"vlp.jax: computes on the CPU and on CUDA devices, not on {platform}")
    return "cpu"


def _halves(value: Any) -> jax.Array:
    """Whole numbers as the library takes them: of 64 bits where JAX has them, else their halves, the low one first."""
    if jax.config.jax_enable_x64:
        return jnp.asarray(value, jnp.int64)
    if not isinstance(value, jax.Array):
        whole = np.ascontiguousarray(value, dtype="<i8")
        return jnp.asarray(whole.view("<i4").reshape(*whole.shape, 2))
    low = jax.lax.bitcast_convert_type(value, jnp.int32) if value.dtype == jnp.uint32 else value.astype(jnp.int32)
    high = jnp.zeros_like(low) if value.dtype == jnp.uint32 else low >> 31
    return jnp.stack([low, high], axis=-1)


class _Call:
    """The inputs of a call as the library takes them."""

    def __init__(self, loss: Loss, device: str, inputs: dict[str, Any]) -> None:
        self.loss = loss
        known = {one.name: one for one in loss.inputs}
        given = {name: value if isinstance(value, jax.Array) else np.asarray(value) for name, value in inputs.items()}
        self.number = self._number(device, [given[name].dtype for name in given if known[name].type == "number"])
        self.arrays = tuple(self._convert(known[name], value) for name, value in given.items())

    def _number(self, device: str, dtypes: list[Any]) -> str:
        """The type that is computed in: that of the embeddings, as far as the library has it and JAX does."""
        types = {jnp.dtype(jax.dtypes.canonicalize_dtype(dtype)).name for dtype in dtypes}
        if "float64" in types:
            return "float64"
        only = next(iter(types)) if len(types) == 1 else "float32"
        return only if only in library(device).types else "float32"

    def _convert(self, known: Array, value: Any) -> jax.Array:
        is_whole = jnp.issubdtype(value.dtype, jnp.integer)
        if known.type == "int64":
            if not is_whole and value.size > 0:
                self._refuse(known, value, "whole numbers")
            return _halves(value)
        if known.type == "bool":
            if not is_whole and value.dtype != jnp.bool_:
                self._refuse(known, value, "bool")
            return jnp.asarray(value != 0)
        if not is_whole and not jnp.issubdtype(value.dtype, jnp.floating):
            self._refuse(known, value, "floating-point numbers")
        out = jnp.asarray(value).astype(self.loss.element_type(known, self.number))
        return out.reshape(()) if known.rank == 0 and out.size == 1 else out

    def _refuse(self, known: Array, value: Any, wanted: str) -> None:
        raise TypeError(f"{self.loss.name}: {known.name} must be of {wanted}, but is of {value.dtype}")


def _compute(arguments: Arguments, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    loss, device = arguments.loss, _device()
    outputs = arguments.names("outputs", named.pop("outputs", ()), [one.name for one in loss.outputs[1:]])
    threads = named.pop("threads", 0)
    given = arguments.take(inputs, named)
    call = _Call(loss, device, given.inputs)
    program = _Program(loss.name, device, call.number, tuple(given.inputs), given.numbers, given.options,
                       ("loss", *outputs), threads)
    value, *further = _loss(program, call.arrays)
    if not outputs:
        return value
    names = ("loss", *(keyword(name) for name in outputs))
    return result_type(loss.name, names)(value, *further)


_FUNCTIONS = functions(__name__, _compute, _FACE, jax.typing.ArrayLike, _FURTHER)
__all__ = list(_FUNCTIONS)
globals().update(_FUNCTIONS)
