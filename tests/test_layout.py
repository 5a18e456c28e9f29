"""The repository's shape: packaging, imports, sizes. Each mistake tested here ships in silence otherwise."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import specgraph

ROOT = Path(__file__).parents[1]
FOLDERS = ("specgraph", "export", "runtimes")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINKS = {"specgraph/export": "../export", "specgraph/runtimes": "../runtimes"}
TOP = {"specgraph", "export", "runtimes", "tests", "docs", "pyproject.toml", "README.md", "LICENSE"}
UNTRACKED = {"build", "dist", "specgraph-demo", "specgraph.egg-info", "__pycache__"}

# What a module may import when it is loaded; everything else is imported by the function that needs it.
LIGHT = {"numpy"}
MAY_IMPORT = {
    "specgraph": LIGHT | {"torch"},
    "specgraph/ops": LIGHT | {"scipy"},
    "specgraph/transforms": LIGHT,
    "specgraph/presets": LIGHT,
    "specgraph/design": LIGHT | {"scipy"},
    "specgraph/bench": LIGHT,
    "specgraph/containers": set(),
    "specgraph/cli": {"typer", "rich"},
    "export": LIGHT | {"onnx_ir"},
    "runtimes": LIGHT,
    "runtimes/extract": LIGHT,
    "runtimes/serving": LIGHT | {"starlette", "uvicorn", "grpc", "google", "prometheus_client"},
}
HAVE_TORCH = {f"specgraph/{name}.py" for name in ("module", "module_inputs", "constraints", "frame_product")}


def sources() -> list[Path]:
    """Every module of the library, once: by its place on the disk, not by a link."""
    return sorted(
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if not any(path.is_relative_to(ROOT / link) for link in LINKS)
    )


def loaded_imports(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when a module is loaded: not those in functions or for type checkers only."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from loaded_imports(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            for part in ("body", "orelse", "handlers", "finalbody"):
                yield from loaded_imports(getattr(node, part, []))
        elif isinstance(node, ast.ExceptHandler):
            yield from loaded_imports(node.body)


def names(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that an import loads."""
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]


def test_every_package_is_listed() -> None:
    packages = {
        ("specgraph." + str(path.parent).replace("/", ".")).replace("specgraph.specgraph", "specgraph")
        for path in sources()
        if path.name == "__init__.py"
    }
    assert packages == set(PYPROJECT["tool"]["setuptools"]["packages"])
    folders = {str(path.parent) for path in sources()}
    assert folders == {str(path.parent) for path in sources() if path.name == "__init__.py"}, "a folder without __init__.py"


@pytest.mark.skipif(os.name == "nt", reason="a clone with core.symlinks=false has files in place of the links")
def test_links_are_links() -> None:
    assert {link: os.readlink(ROOT / link) for link in LINKS} == LINKS


def test_nothing_else_at_the_top() -> None:
    present = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert present - UNTRACKED <= TOP


@pytest.mark.parametrize("path", sources(), ids=str)
def test_a_file_is_short(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= LONGEST.get(str(path), 400)


LONGEST: dict[str, int] = {}


@pytest.mark.parametrize("path", sources(), ids=str)
def test_imports(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert ast.get_docstring(tree), "a module begins with a line saying what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not getattr(node, "level", 0), f"line {node.lineno}: imports are absolute"
            first = {name.split(".")[0] for name in names(node)}
            assert not first & {"export", "runtimes"}, f"line {node.lineno}: it is specgraph.export, specgraph.runtimes"
    allowed = MAY_IMPORT[str(path.parent)] | {"specgraph"}
    if str(path.parent) == "specgraph" and str(path) not in HAVE_TORCH:
        allowed = allowed - {"torch"}
    for node in loaded_imports(tree.body):
        foreign = {name.split(".")[0] for name in names(node)} - sys.stdlib_module_names - allowed
        assert not foreign, f"line {node.lineno}: import {', '.join(foreign)} where it is used"


def python(code: str, **env: str) -> str:
    """What a fresh interpreter prints, started outside the repository."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=env.pop("cwd", None),
        env=os.environ | env,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


HEAVY = "{'torch', 'onnx', 'onnx_ir', 'onnxruntime', 'scipy', 'matplotlib', 'soundfile', 'soxr', 'librosa', 'pyarrow', 'ray'}"


@pytest.mark.parametrize("module", ["specgraph", "specgraph.runtimes", "specgraph.cli"])
def test_import_is_cheap(module: str) -> None:
    code = f"import {module}, sys; print(sorted({HEAVY} & set(sys.modules)))"
    assert python(code, PYTHONPATH=str(ROOT)) == "[]"


def test_the_names_of_the_package() -> None:
    assert specgraph.__version__ == PYPROJECT["project"]["version"]
    for name in specgraph.__all__:
        assert getattr(specgraph, name) is not None
    with pytest.raises(AttributeError, match="no 'Stft'"):
        specgraph.Stft  # noqa: B018


def test_doctests() -> None:
    tried = 0
    for module in pkgutil.walk_packages(specgraph.__path__, "specgraph."):
        if not module.name.endswith("__main__"):
            result = doctest.testmod(importlib.import_module(module.name))
            assert result.failed == 0, module.name
            tried += result.attempted
    assert tried > 5


def test_extras() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert {"cpu", "gpu", "test", "bench"} <= set(extras)
    assert [requirement.split(">")[0] for requirement in extras["cpu"]] == ["onnxruntime"]
    packaging = pytest.importorskip("packaging.requirements")
    gpu = [packaging.Requirement(text) for text in extras["gpu"]]
    for system, machine, wanted in [
        ("linux", "x86_64", "onnxruntime-gpu"),
        ("win32", "AMD64", "onnxruntime-gpu"),
        ("linux", "aarch64", "onnxruntime"),
        ("darwin", "arm64", "onnxruntime"),
        ("darwin", "x86_64", "onnxruntime"),
    ]:
        here = {"sys_platform": system, "platform_machine": machine}
        assert [r.name for r in gpu if r.marker is None or r.marker.evaluate(here)] == [wanted]


def test_constraints_pin_what_is_needed() -> None:
    requirements = pytest.importorskip("packaging.requirements")
    utils = pytest.importorskip("packaging.utils")
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    pins = [requirements.Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {utils.canonicalize_name(pin.name) for pin in pins}
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    extras = PYPROJECT["project"]["optional-dependencies"]
    asked = PYPROJECT["project"]["dependencies"] + [text for extra in extras.values() for text in extra]
    wanted = {utils.canonicalize_name(requirements.Requirement(text).name) for text in asked}
    assert wanted <= pinned


@pytest.fixture(scope="module", params=["with links", "without links"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked; built from a copy, with no egg-info that would bring a forgotten package in by accident.

    Without links: as cloned where git makes files of them.
    """
    setuptools = pytest.importorskip("setuptools", minversion="77")
    assert setuptools
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    left_out = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", *UNTRACKED)
    shutil.copytree(ROOT, source, symlinks=True, ignore=left_out)
    if request.param == "without links":
        for link, to in LINKS.items():
            (source / link).unlink()
            (source / link).write_text(to)
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(source)]
    result = subprocess.run([sys.executable, *build], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (file,) = folder.glob("specgraph-*.whl")
    unpacked = folder / "unpacked"
    zipfile.ZipFile(file).extractall(unpacked)
    return unpacked


def test_wheel_has_every_module_and_no_other_name(wheel: Path) -> None:
    packed = {str(path.relative_to(wheel)) for path in wheel.rglob("*.py")}
    assert packed == {str(path if path.parts[0] == "specgraph" else "specgraph" / path) for path in sources()}
    assert {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")} == {"specgraph"}
    assert (wheel / "specgraph" / "py.typed").exists()


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Blocker())
import numpy, specgraph
print(specgraph.__file__)
run = specgraph.load({model!r})
print(run(numpy.zeros((2, 1600), numpy.float32)).shape)
"""


def test_numpy_and_onnxruntime_are_enough_to_serve(wheel: Path, mel_file: Path) -> None:
    blocked = {"torch", "onnx", "onnx_ir", "scipy", "soundfile", "soxr", "typer", "rich", "matplotlib", "librosa"}
    code = BLOCKED.format(blocked=blocked, model=str(mel_file))
    where, shape = python(code, PYTHONPATH=str(wheel), cwd=str(wheel)).splitlines()
    assert Path(where).is_relative_to(wheel)
    assert shape == "(2, 40, 11)"
