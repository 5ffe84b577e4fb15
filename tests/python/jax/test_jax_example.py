"""examples/python/jax_loss.py runs and learns."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax", reason="JAX is not installed")
pytest.importorskip("jax_tvm_ffi", reason="jax-tvm-ffi is not installed")

EXAMPLE = Path(__file__).parents[3] / "examples/python/jax_loss.py"


def test_the_example_learns():
    out = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
    losses = [float(one) for one in re.findall(r"loss ([0-9.]+)", out.stdout)]
    assert len(losses) == 5 and losses[-1] < 0.5 * losses[0]


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) < 60
