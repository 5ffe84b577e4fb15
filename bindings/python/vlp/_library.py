"""The libraries of vlp, and the passes of its losses as functions on tensors of any framework that speaks DLPack.

Everything here is made of the libraries' own description of their losses (`vlp_ops_describe` in bindings/c/vlp_ops.h).
"""
from __future__ import annotations

import atexit
import functools
import json
import numbers
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping

import tvm_ffi


@dataclass(frozen=True)
class Array:
    """An input or an output of a loss."""

    name: str
    rank: int
    type: str  # "number" (the loss's own), "accumulator", "int64" or "bool"
    gradient: bool = False  # whether it has one


@dataclass(frozen=True)
class Option:
    """An option of a loss, with its default as text."""

    name: str
    kind: str  # "number", "integer", "bool" or "choice"
    choices: tuple[str, ...]
    default: str

    @property
    def value(self) -> float | int | bool | str:
        """The default as Python's own number, bool or text."""
        return {"number": float, "integer": int, "bool": "true".__eq__, "choice": str}[self.kind](self.default)

    def text(self, value: Any) -> str:
        """The value as the library reads it; a TypeError where it is of another kind."""
        wanted = {"number": numbers.Real, "integer": numbers.Integral, "bool": bool, "choice": str}[self.kind]
        if not isinstance(value, wanted) or (self.kind in ("number", "integer") and isinstance(value, bool)):
            raise TypeError(f"{self.name} must be a {self.kind}, but is {value!r}")
        return {"number": lambda: repr(float(value)), "integer": lambda: str(int(value)),
                "bool": lambda: str(value).lower(), "choice": lambda: value}[self.kind]()


@dataclass(frozen=True)
class Loss:
    """A loss as a library describes it."""

    name: str
    forward_backward: bool  # whether it does both at once for less work
    blocks: bool  # whether it has the steps over blocks of a batch
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    numbers: Mapping[str, int]  # what the host knows of the inputs, with defaults
    options: Mapping[str, Option]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Loss:
        return cls(entry["name"], entry["forward_backward"], entry["blocks"],
                   tuple(Array(**one) for one in entry["inputs"]), tuple(Array(**one) for one in entry["outputs"]),
                   {one["name"]: one["default"] for one in entry["numbers"]},
                   {one["name"]: Option(one["name"], one["kind"], tuple(one["choices"]), one["default"])
                    for one in entry["options"]})

    def output_shape(self, output: Array, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The extents of an output, for inputs of these shapes by name; a ValueError where they do not tell."""
        if output.rank == 0:
            return ()
        regions, words = shapes.get("regions", ()), shapes.get("words", ())
        if len(regions) != 3 or len(words) != 3:
            raise ValueError(f"{self.name}: {output.name} needs regions [B, R, D] and words [N, W, D]")
        return {"similarity": (regions[0], words[0]), "attention": (regions[0], words[1], regions[1])}[output.name]

    def element_type(self, array: Array, number: str) -> str:
        """DLPack's name for the type of an array's elements, where the loss is of numbers of the type `number`."""
        accumulator = "float64" if number == "float64" else "float32"
        return {"number": number, "accumulator": accumulator, "int64": "int64", "bool": "uint8"}[array.type]


class Library:
    """One of the two libraries: "cpu" or "cuda"."""

    def __init__(self, device: str, path: Path) -> None:
        self.device = device
        self.path = path
        self.module = tvm_ffi.load_module(str(path))
        if sys.version_info < (3, 14):
            atexit.register(self.module.interpreter_ends)  # daemon threads stay in their calls; see in_call.hpp
        self.description = json.loads(str(self.module.describe()))
        self.losses = {entry["name"]: Loss.read(entry) for entry in self.description["losses"]}
        self.types = tuple(self.description["types"])  # of numbers
        self.prepare = functools.lru_cache(maxsize=1024)(self._prepare)

    def _prepare(self, loss: str, number: str, step: str, options: tuple[str, ...] = (), outputs: tuple[str, ...] = (),
                 gradients: tuple[str, ...] = (), sums: tuple[str, ...] = (), add: bool = False,
                 inputs: tuple[str, ...] | None = None) -> Callable[..., Any]:
        """The pass `step` of a loss of numbers of the type `number` as a function. Its arguments are

            threads, numbers, [upstream], inputs, [sums], [saved], [outputs], [gradients], [saved]

        as far as the pass has them: `threads` 0 for all; the loss's `numbers` and `inputs` in their order (those that
        `inputs` names, where it does), an input that is not given as None; the tensors that `sums`, `outputs` and
        `gradients` name; `saved`, bytes, last where the pass writes it. saved_bytes takes shapes (tvm_ffi.Shape) for
        inputs and returns a number; other passes return nothing. `options` are names and texts in turn.
        """
        known = self.losses[loss]
        taken = [array for array in known.inputs if inputs is None or array.name in inputs]
        return self.module.prepare(loss, number, options, step, tuple(known.numbers),
                                   tuple(array.name for array in taken),
                                   tuple(known.element_type(array, number) for array in taken), sums, outputs,
                                   gradients, add)


def _folder() -> Path:
    """Where the libraries are: VLP_LIBRARY_DIR, or in the package."""
    return Path(os.environ.get("VLP_LIBRARY_DIR", Path(__file__).parent / "lib"))


@functools.cache
def library(device: str = "cpu") -> Library:
    """The library for tensors on "cpu" or "cuda"; ImportError where this build of vlp has none, or none that loads."""
    files = {"cpu": "libvlp_ffi.so", "cuda": "libvlp_ffi_cuda.so"}
    if device not in files:
        raise ValueError(f"vlp has libraries for cpu and cuda tensors, not for {device} ones")
    path = _folder() / files[device]
    if not path.exists():
        how = " (pip install . --config-settings=cmake.define.VLP_CUDA=ON builds it)" if device == "cuda" else ""
        raise ImportError(f"vlp has no library for {device} tensors: {path.name} is not in {path.parent}{how}")
    try:
        return Library(device, path)
    except (RuntimeError, OSError) as error:  # the system's linker says why
        raise ImportError(f"vlp's library for {device} tensors cannot be loaded: {error}") from error
