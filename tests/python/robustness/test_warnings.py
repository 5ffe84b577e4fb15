"""The sources of the Python library compile without a warning."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

tvm_ffi = pytest.importorskip("tvm_ffi", reason="the sources include tvm-ffi's headers")

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("source", ["losses.cpp", "text.cpp"])
def test_a_source_has_no_warnings(source):
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    eigen = Path("/usr/include/eigen3")
    if compiler is None or not eigen.exists():
        pytest.skip("there is no compiler, or no Eigen")
    headers = Path(tvm_ffi.__file__).parent
    foreign = [headers / "include", headers / "3rdparty/dlpack/include", eigen]
    out = subprocess.run([compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wshadow", "-Werror",
                          "-Wno-unused-parameter",  # tvm-ffi's macros have one
                          *(f"-isystem{folder}" for folder in foreign), f"-I{ROOT / 'include'}",
                          f"-I{ROOT / 'bindings/c'}", str(ROOT / "bindings/tvm_ffi" / source)],
                         capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
