"""Imports without frameworks, and libraries that are not there or are none: sentences, and no abort."""
import pytest

pytest.importorskip("tvm_ffi", reason="vlp's libraries are called through apache-tvm-ffi")
from passes import python  # noqa: E402


def last_line(out):
    return out.stderr.rstrip().rsplit("\n", 1)[-1]


def test_importing_vlp_imports_no_framework():
    out = python("import vlp, sys\nprint(sorted({'torch', 'jax', 'numpy', 'tvm_ffi'} & set(sys.modules)))", hide=())
    assert (out.returncode, out.stdout) == (0, "[]\n"), out.stderr


def test_text_needs_no_framework():
    code = """
from vlp import text
assert text.Perturber().one("The left lung.", 6, 0, 0).text == "lung left the"
tokeniser = text.WordPiece("[PAD] [UNK] [CLS] [SEP] lung".split())
assert tokeniser.encode("lung").ids == [2, 4, 3]
try:
    tokeniser.batch(["lung"])
except ImportError as error:
    print(error)
"""
    out = python(code, hide=("torch", "jax", "numpy"))
    assert out.returncode == 0, out.stderr
    assert "numpy" in out.stdout


def test_without_tvm_ffi():
    out = python("import vlp\nimport vlp.text", hide=("tvm_ffi",))
    assert out.returncode == 1 and "tvm_ffi" in last_line(out) and "ModuleNotFoundError" in last_line(out)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_folder_without_libraries(tmp_path, device):
    for folder in (tmp_path, tmp_path / "nowhere", ""):
        out = python(f"from vlp._library import library\nlibrary({device!r})", VLP_LIBRARY_DIR=str(folder))
        assert out.returncode == 1
        assert last_line(out).startswith(f"ImportError: vlp has no library for {device} tensors: libvlp_ffi")


def test_other_devices():
    out = python("from vlp._library import library\nlibrary('tpu')")
    assert out.returncode == 1
    assert last_line(out) == "ValueError: vlp has libraries for cpu and cuda tensors, not for tpu ones"


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"\x7fELF" + bytes(200)])
def test_a_file_that_is_no_library(tmp_path, content):
    (tmp_path / "libvlp_ffi.so").write_bytes(content)
    out = python("from vlp._library import library\nlibrary()", VLP_LIBRARY_DIR=str(tmp_path))
    assert out.returncode == 1
    assert last_line(out).startswith("ImportError: vlp's library for cpu tensors cannot be loaded: ")
    (tmp_path / "libvlp_ffi.so").unlink()
    (tmp_path / "libvlp_ffi.so").mkdir()
    out = python("from vlp._library import library\nlibrary()", VLP_LIBRARY_DIR=str(tmp_path))
    assert out.returncode == 1 and last_line(out).startswith("ImportError: ")
