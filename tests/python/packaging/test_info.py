"""`python -m vlp.info`, the version, and what imports what."""
from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vlp
from vlp import _library, info

ROOT = Path(__file__).parents[3]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env={**os.environ, **environment})


def version() -> str:
    return re.search('VLP_VERSION_STRING "(.*)"', (ROOT / "include/vlp/core/config.hpp").read_text())[1]


def test_version_is_that_of_the_headers():
    assert vlp.__version__ == version()
    with pytest.raises(AttributeError, match="no attribute 'revision'"):
        vlp.revision


def test_info_says_what_there_is():
    out = run("-m", "vlp.info")
    assert out.returncode == 0, out.stderr
    said = {line[:16].strip(): line[16:].strip() for line in out.stdout.splitlines()}
    assert said["cpu library"].endswith("libvlp_ffi.so")
    assert said["version"] == version()
    assert "info_nce" in said["losses"] and "float64" in said["types"]
    assert "none: vlp has no library for cuda tensors" in said["cuda library"] or said["cuda library"].endswith(".so")
    for package in ("apache-tvm-ffi", "numpy"):
        assert re.match(r"\d+\.", said[package])
    assert said["Python"].startswith(".".join(map(str, sys.version_info[:3])))


@pytest.fixture
def other_libraries(tmp_path, monkeypatch):
    """A folder that the libraries are looked for in."""
    monkeypatch.setenv("VLP_LIBRARY_DIR", str(tmp_path))
    _library.library.cache_clear()
    yield tmp_path
    _library.library.cache_clear()


def test_info_says_what_is_wrong(other_libraries):
    assert dict(info.lines())["cpu library"] == (
        f"none: vlp has no library for cpu tensors: libvlp_ffi.so is not in {other_libraries}")
    (other_libraries / "libvlp_ffi.so").write_bytes(b"not a library")
    said = dict(info.lines())["cpu library"]
    assert said.startswith("none: ") and "libvlp_ffi.so" in said


def test_info_fails_without_a_library(tmp_path):
    out = run("-m", "vlp.info", VLP_LIBRARY_DIR=str(tmp_path))
    assert out.returncode == 1 and "cpu library      none: " in out.stdout, out.stderr


def test_a_missing_library_is_an_import_error(tmp_path):
    out = run("-c", "import sys\nsys.modules['torch'] = None\nimport vlp, vlp.info\n"
                    "try:\n    import vlp.numpy\nexcept ImportError as error:\n    print(error)",
              VLP_LIBRARY_DIR=str(tmp_path))
    assert out.stdout == f"vlp has no library for cpu tensors: libvlp_ffi.so is not in {tmp_path}\n", out.stderr
    if not (_library._folder() / "libvlp_ffi_cuda.so").exists():
        with pytest.raises(ImportError, match="VLP_CUDA=ON builds it"):
            _library.library("cuda")


def test_cards_are_named_as_the_driver_says_them(tmp_path, monkeypatch):
    card = tmp_path / "0000:01:00.0"
    card.mkdir()
    (card / "information").write_text("Model: \t NVIDIA H100\nIRQ: 7\n")
    monkeypatch.setattr(info, "_CARDS", tmp_path)
    assert dict(info.lines())["CUDA devices"] == "NVIDIA H100"


@pytest.mark.parametrize("face, others", [("vlp", "numpy torch jax tvm_ffi"), ("vlp.info", "torch jax"),
                                          ("vlp.numpy", "torch jax"), ("vlp.text", "torch jax"), ("vlp.jax", "torch"),
                                          ("vlp.torch", "jax")])
def test_a_face_needs_no_other_framework(face, others):
    for package in (face, *{"vlp.torch": ["torch"], "vlp.jax": ["jax", "jax_tvm_ffi"]}.get(face, [])):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    out = run("-c", f"import sys\nfor name in {others.split()}: sys.modules[name] = None  # importing it fails\nimport {face}")
    assert out.returncode == 0, out.stderr
