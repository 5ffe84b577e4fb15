"""Passes of losses on NumPy arrays through vlp._library alone, and processes, for the tests of robustness."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tvm_ffi

from vlp._library import library

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parents[1] / "golden"


def aligned(size, offset=0):
    """Bytes that begin `offset` after a boundary that forwards may save to."""
    alignment = library().description["saved_alignment"]
    memory = np.zeros(size + 2 * alignment, np.uint8)
    start = -memory.ctypes.data % alignment + offset
    return memory[start:start + size]


def golden(loss):
    """Float64 inputs of a loss from its first golden case: arrays by name."""
    if loss == "multi_scale":
        rng = np.random.default_rng(0)
        return {"image": rng.normal(size=(3, 4)), "text": rng.normal(size=(3, 3, 4)), "log_scale": np.array(1.0),
                "perturbation_log_scale": np.array(1.0), "valid": np.ones((3, 3), np.uint8),
                "regions": rng.normal(size=(3, 2, 4)), "words": rng.normal(size=(3, 2, 4)),
                "word_count": np.array([2, 1, 2])}
    if loss == "pairwise_sigmoid":
        rng = np.random.default_rng(0)
        return {"image": rng.normal(size=(3, 4)), "text": rng.normal(size=(3, 4)), "log_scale": np.array(1.0),
                "bias": np.array(-1.0)}
    folder = sorted((GOLDEN / loss).iterdir())[0]
    ranks = {array.name: array.rank for array in library().losses[loss].inputs}
    arrays = {name: np.load(folder / f"{name}.npy") for name in ranks if (folder / f"{name}.npy").exists()}
    return {name: array.reshape(()) if ranks[name] == 0 else array for name, array in arrays.items()}


class Run:
    """The arguments of one loss's passes on arrays by name; a test changes what it likes and calls."""

    def __init__(self, loss, arrays, number="float64", threads=1, options=()):
        self.known, self.number, self.options = library().losses[loss], number, options
        self.threads, self.numbers = threads, list(self.known.numbers.values())
        wanted = {array.name: self.known.element_type(array, number) for array in self.known.inputs}
        self.inputs = [None if array.name not in arrays else
                       np.array(arrays[array.name], dtype=wanted[array.name]) for array in self.known.inputs]
        accumulator = "float64" if number == "float64" else "float32"
        self.value = np.zeros((), accumulator)
        self.given = [array.name for array in self.known.inputs if array.gradient and array.name in arrays]
        self.gradients = [np.zeros(self.inputs[i].shape, accumulator if array.type == "accumulator" else number)
                          for i, array in enumerate(self.known.inputs) if array.name in self.given]

    def prepared(self, step):
        return library().prepare(self.known.name, self.number, step, self.options,
                                 outputs=("loss",) if "forward" in step else (),
                                 gradients=tuple(self.given) if "backward" in step else ())

    def saved_bytes(self):
        shapes = [None if one is None else tvm_ffi.Shape(one.shape) for one in self.inputs]
        return self.prepared("saved_bytes")(self.threads, *self.numbers, *shapes)

    def forward(self):
        self.saved = aligned(self.saved_bytes())
        self.prepared("forward")(self.threads, *self.numbers, *self.inputs, self.value, self.saved)
        return self.value

    def backward(self):
        self.prepared("backward")(self.threads, *self.numbers, 1.0, *self.inputs, self.saved, *self.gradients)
        return self.gradients

    def bits(self):
        """The value and all gradients as bytes."""
        return b"".join(array.tobytes() for array in [self.forward(), *self.backward()])


def info_nce(pairs=64, features=32, threads=2, number="float32"):
    """A run of InfoNCE on random embeddings, always the same, large enough for threads to share."""
    rng = np.random.default_rng(pairs)
    return Run("info_nce", {"image": rng.normal(size=(pairs, features)), "text": rng.normal(size=(pairs, features)),
                            "log_scale": np.array(2.0)}, number, threads)


def environment(**changes):
    """The environment of a child that finds vlp and this file; a change to None takes a variable out."""
    path = os.pathsep.join([str(HERE), *sys.path])
    out = {**os.environ, "PYTHONPATH": path, **changes}
    return {name: value for name, value in out.items() if value is not None}


def python(code, timeout=60, hide=("torch",), **changes):
    """Runs code in a Python of its own that does not find the packages to `hide`, which makes it start fast."""
    hiding = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in hide)
    return subprocess.run([sys.executable, "-c", hiding + code], capture_output=True, text=True, timeout=timeout,
                          env=environment(**changes))
