"""`python -m vlp.info` prints what this installation of vlp is and what it finds: for bug reports, and to see that it works.

It needs what vlp itself needs and imports no framework.
"""
from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from . import _library

# Packages that vlp works with, by their names on PyPI.
_PACKAGES = ("apache-tvm-ffi", "numpy", "torch", "jax", "jaxlib", "jax-tvm-ffi", "open-clip-torch", "transformers")

_CARDS = Path("/proc/driver/nvidia/gpus")  # where NVIDIA's driver says under Linux what cards there are


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _graphics_cards() -> list[str]:
    """Models of NVIDIA's cards."""
    found = []
    for file in sorted(_CARDS.glob("*/information")):
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("Model:"):
                found.append(line.removeprefix("Model:").strip())
    return found


def _of_library(device: str) -> list[tuple[str, str]]:
    """What is to be said of the library for tensors on a device; its error where it cannot be used."""
    try:
        found = _library.library(device)
    except Exception as error:  # whatever a damaged installation brings
        return [(f"{device} library", f"none: {error}")]
    about = found.description
    return [(f"{device} library", str(found.path)), ("  version", about["version"]), ("  compiler", about["compiler"]),
            ("  products by", about["products"]), ("  types", ", ".join(about["types"])),
            ("  losses", ", ".join(found.losses))]


def lines() -> list[tuple[str, str]]:
    """What `python -m vlp.info` prints: names and texts, in order."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [("vlp", _version_of("vlp")), ("package", str(Path(__file__).parent)),
            ("Python", f"{platform.python_version()} ({sys.executable})"), ("platform", platform.platform()),
            ("processors", f"{processors}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}"),
            ("CUDA devices", ", ".join(_graphics_cards()) or "none"),
            *_of_library("cpu"), *_of_library("cuda"),
            *((package, _version_of(package)) for package in _PACKAGES)]


if __name__ == "__main__":
    found = lines()
    for name, text in found:
        print(f"{name:<16} {text}")
    sys.exit(1 if dict(found)["cpu library"].startswith("none:") else 0)
