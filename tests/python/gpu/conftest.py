"""Tests of vlp.torch on a CUDA device, which scripts/gpu_check.sh runs on a machine with one.

VLP_TEST_DEVICE=cpu tries on the CPU those that ask nothing of CUDA itself.
"""
import os
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
sys.path.append(str(Path(__file__).parents[1] / "torch"))  # definitions.py


@pytest.fixture(scope="session")
def device():
    """The device that the tests run on."""
    name = os.environ.get("VLP_TEST_DEVICE", "cuda")
    if name == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")
        from vlp._library import library
        try:
            library("cuda")
        except ImportError as error:
            pytest.skip(str(error))
    return torch.device(name)


@pytest.fixture(scope="session")
def cuda(device):
    """A device that is one of CUDA's."""
    if device.type != "cuda":
        pytest.skip("asks something of CUDA itself")
    return device
