"""Vision-language pretraining losses and report perturbations: vlp.torch, vlp.jax, vlp.numpy, vlp.text.

Importing vlp imports none of them, and no framework. `python -m vlp.info` says what is installed.
"""
from __future__ import annotations


def __getattr__(name: str) -> str:
    if name == "__version__":
        from ._library import library

        return library().description["version"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
