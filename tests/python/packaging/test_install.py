"""vlp installed as people do it: from the source distribution in a clean environment, and as a wheel in another."""
from __future__ import annotations

import email
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUILD = ROOT / "build/python"
SHARED = ("ffi", "ops")

pytestmark = pytest.mark.slow
for tool in ("cmake", "ninja", "readelf"):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed", allow_module_level=True)
if importlib.util.find_spec("scikit_build_core") is None:
    pytest.skip("scikit-build-core is not installed", allow_module_level=True)


def run(*command: str | Path, cwd: Path = ROOT, status: int = 0) -> str:
    """The output of a command that ends with that status. Compilers' results are kept by paths relative to the project,
    so that what was compiled from its own tree is not compiled again from a copy in it."""
    environment = {name: text for name, text in os.environ.items()
                   if name not in ("PYTHONPATH", "VLP_LIBRARY_DIR", "LD_LIBRARY_PATH")}
    out = subprocess.run([str(one) for one in command], cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env={**environment, "CCACHE_BASEDIR": str(ROOT), "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    assert out.returncode == status, out.stdout
    return out.stdout


def environment_in(folder: Path) -> Path:
    """The Python of a new environment."""
    venv.create(folder, with_pip=True, symlinks=True)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", "import sys, scikit_build_core.build as build; build.build_sdist(sys.argv[1])", folder)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder,
        f"--config-settings=build-dir={BUILD / 'vlp'}", ROOT)
    return next(folder.glob("*.whl"))


def test_the_source_distribution_has_what_a_build_needs_and_nothing_else(sdist):
    with tarfile.open(sdist) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames()]
    folders = {name.split("/")[0] for name in names}
    assert folders == {"CMakeLists.txt", "LICENSE", "PKG-INFO", "bindings", "cmake", "cuda", "data", "docs", "include", "pyproject.toml"}
    assert [name for name in names if name.startswith(("data/", "docs/"))] == ["data/README.md", "docs/python.md"]
    assert sdist.stat().st_size < 4 << 20
    assert not [name for name in names if re.search(r"__pycache__|\.pyc$|\.so$|/build/|test", name)]


def check_that_it_computes(python: Path, elsewhere: Path) -> None:
    """Of an installed vlp, from a folder that has nothing of the project."""
    said = run(python, "-m", "vlp.info", cwd=elsewhere)
    assert re.search(rf"cpu library +{re.escape(str(python.parents[1].resolve()))}.*/vlp/lib/libvlp_ffi.so", said), said
    assert re.search(r"torch +not installed", said)
    code = ("import numpy, vlp.numpy; x = numpy.eye(3, dtype='float32')\n"
            "print(vlp.numpy.info_nce(x, x, 0.0, gradients=('image',)).loss)")
    assert float(run(python, "-c", code, cwd=elsewhere)) == pytest.approx(0.5514447, rel=1e-5)
    assert run(python, "-m", "pip", "check", cwd=elsewhere).strip() == "No broken requirements found."


def test_pip_installs_it_in_a_clean_environment(sdist, tmp_path):
    copies = BUILD / "sdist"
    shutil.rmtree(copies, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(copies)
    source = next(copies.iterdir())
    python = environment_in(tmp_path / "clean")
    run(python, "-m", "pip", "install", f"--config-settings=build-dir={source / 'build/python/vlp'}", source)
    check_that_it_computes(python, tmp_path)
    installed = run(python, "-m", "pip", "list", "--format=freeze", cwd=tmp_path)
    assert {line.split("==")[0].replace("_", "-") for line in installed.split()} <= {
        "apache-tvm-ffi", "numpy", "pip", "setuptools", "typing-extensions", "vlp"}
    shutil.rmtree(copies)


def test_a_wheel_can_be_installed_elsewhere(wheel, tmp_path):
    python = environment_in(tmp_path / "other")
    run(python, "-m", "pip", "install", wheel)
    check_that_it_computes(python, tmp_path)


def test_the_wheel_holds_the_package_and_its_libraries(wheel):
    assert re.fullmatch(r"vlp-[0-9.]+-py3-none-(many)?linux_\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.message_from_bytes(archive.read(next(one for one in names if one.endswith("METADATA"))))
    modules = {str(one.relative_to(ROOT / "bindings/python")) for one in (ROOT / "bindings/python/vlp").rglob("*.py")}
    libraries = {f"vlp/lib/libvlp_{name}.so" for name in SHARED}
    copied = {f"vlp/licenses/{one}.txt" for one in ("libeigen3-dev", "librandom123-dev")
              if Path("/usr/share/doc", one, "copyright").exists()}
    assert {name for name in names if ".dist-info/" not in name} == modules | libraries | copied
    licences = {name.split("licenses/")[1] for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "data/README.md"}
    assert metadata["Name"] == "vlp" and metadata["License-Expression"] == "MIT"
    assert [one for one in metadata.get_all("Requires-Dist") if "extra ==" not in one] == [
        "apache-tvm-ffi<0.2,>=0.1.15", "numpy"]
    assert wheel.stat().st_size < 16 << 20


def test_the_libraries_name_no_folder_of_this_machine(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for library in (tmp_path / "vlp/lib").iterdir():
        said = run("readelf", "--dynamic", "--wide", library)
        assert re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", said) == ["$ORIGIN"], library.name
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", said)
        assert not [one for one in needed if "/" in one]
        held = library.read_bytes()
        for folder in (ROOT, Path.home(), Path(sys.prefix)):
            assert os.fsencode(folder) + b"/" not in held, f"{library.name} names {folder}"
        assert b"pip-build-env" not in held
    assert "libtvm_ffi.so" in re.findall(r"\[(.*)\]", run("readelf", "--dynamic", tmp_path / "vlp/lib/libvlp_ffi.so"))


@pytest.mark.parametrize("missing, sentence", [
    ("Eigen3", "vlp needs Eigen 3.4 or later .on Debian and Ubuntu: apt install libeigen3-dev"),
    ("utf8proc", "VLP_BUILD_PYTHON needs utf8proc and Random123 .on Debian and Ubuntu: apt install"),
    ("tvm_ffi", "VLP_BUILD_PYTHON needs apache-tvm-ffi .pip install apache-tvm-ffi")])
def test_a_build_says_what_it_lacks(missing, sentence, tmp_path):
    said = run("cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", "-DVLP_BUILD_PYTHON=ON", "-DVLP_BUILD_TESTS=OFF",
               "-DVLP_BUILD_EXAMPLES=OFF", "-DVLP_INSTALL=OFF", f"-DPython_EXECUTABLE={sys.executable}",
               f"-DCMAKE_DISABLE_FIND_PACKAGE_{missing}=ON", status=1)
    assert re.search(sentence, " ".join(said.split())), said
