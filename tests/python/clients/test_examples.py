"""The examples in PyTorch run, and do what they say."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
EXAMPLES = Path(__file__).parents[3] / "examples" / "python"


def run(name: str) -> str:
    """What an example prints."""
    done = subprocess.run([sys.executable, EXAMPLES / name], env={**os.environ, "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pretraining_reads_the_order_of_words():
    lines = re.findall(r"beta ([\d.]+): loss ([\d.]+) -> ([\d.]+), .* ([\d.]+)%", run("pytorch_pretrain.py"))
    (_, first, last, without), (_, *_, share) = ((float(one) for one in line) for line in lines)
    assert last < 0.5 * first
    assert share > 90 > 75 > without


def test_swapped_loss_has_the_same_curve():
    pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    printed = run("open_clip_swap.py")
    assert float(re.search(r"largest difference (\S+)", printed)[1]) < 1e-4
    curve = [float(loss) for loss in re.findall(r"^ *\d+ +(\d+\.\d+) +\d+\.\d+$", printed, re.MULTILINE)]
    assert len(curve) == 10
    assert curve[-1] < 0.7 * curve[0]
