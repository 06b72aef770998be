"""The digest of a user's source changes with what the code does, and with nothing else."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from compress.runs import code_digest
from compress.runs.code_digest import source_digest

Files = dict[str, str]
SHAPES = {
    "__init__": '"""Shapes."""',
    "task": "from PACKAGE.net import filters\nfrom PACKAGE import recipes\nimport os\n\n"
    "class Own:\n    def build(self):\n        return filters(2), recipes.RATE, os.sep\n",
    "net": "def filters(width):\n    return 8 * width\n",
    "recipes": "RATE = 0.1\n",
}


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The digest of the class Own in `task` of a package, or of a lone module, with these files."""
    numbers = itertools.count()

    def write(files: Files, package: bool = True, module: str = "task") -> str:
        name = f"own{next(numbers)}"
        folder = tmp_path / name
        monkeypatch.syspath_prepend(str(tmp_path if package else folder))
        for file, text in files.items():
            path = folder / f"{file}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("PACKAGE", name))
        before = set(sys.modules)
        own = importlib.import_module(f"{name}.{module}" if package else module).Own
        digest = source_digest(own)
        for new in set(sys.modules) - before:
            del sys.modules[new]
        return digest

    return write


def changed(**files: str) -> Files:
    return SHAPES | files


def test_the_digest_is_the_same_for_the_same_code_elsewhere(digest_of: Callable[..., str]) -> None:
    assert digest_of(SHAPES) == digest_of(SHAPES)


@pytest.mark.parametrize(
    "files",
    [
        changed(net=SHAPES["net"].replace("8", "9")),
        changed(recipes="RATE = 0.2\n"),
        changed(recipes="RATE = 0.1\nEPOCHS = 3\n"),
        changed(task=SHAPES["task"].replace("filters(2)", "filters(3)")),
        changed(task=SHAPES["task"].replace("import os", "import posixpath as os")),
        changed(never_imported="x = 1\n"),
    ],
    ids=["network", "recipe", "one more constant", "task", "another library", "another module"],
)
def test_the_digest_changes_with_any_code_of_the_package(
    files: Files, digest_of: Callable[..., str]
) -> None:
    assert digest_of(files) != digest_of(SHAPES)


def test_the_digest_changes_when_an_import_leads_to_another_module(
    digest_of: Callable[..., str],
) -> None:
    two = changed(wide="def filters(width):\n    return 16 * width\n")
    other = two | {"task": two["task"].replace("PACKAGE.net", "PACKAGE.wide")}
    assert digest_of(two) != digest_of(other)


@pytest.mark.parametrize(
    "files",
    [
        changed(net="# Filters.\ndef filters(width):\n    # Eight.\n    return (8 * width)\n"),
        changed(net='"""Nets."""\ndef filters(width):\n    """Many."""\n    return 8 * width\n'),
        changed(task=re.sub("(from .*recipes\n)(import os\n)", r"\2\1", SHAPES["task"])),
        changed(__init__=""),
        changed(_version="commit = 'abc'\n"),
    ],
    ids=["comments", "docstrings", "order of imports", "no docstring", "stamp of a build"],
)
def test_the_digest_ignores_comments_docstrings_and_the_order_of_imports(
    files: Files, digest_of: Callable[..., str]
) -> None:
    assert digest_of(files) == digest_of(SHAPES)


def test_the_digest_does_not_change_when_modules_of_compress_move(
    digest_of: Callable[..., str],
) -> None:
    before, after, other = (
        changed(task=f"from {line}\n{SHAPES['task']}")
        for line in (
            "compress.tasks.task import Task",
            "compress import Task",
            "collections.abc import Callable as Task",
        )
    )
    assert digest_of(before) == digest_of(after) != digest_of(other)


def test_the_digest_does_not_change_when_modules_of_the_package_move(
    digest_of: Callable[..., str],
) -> None:
    moved = {
        "__init__": "",
        "shapes/__init__": '"""Shapes, by themselves."""',
        "shapes/problem": SHAPES["task"]
        .replace("from PACKAGE.net", "from PACKAGE.shapes.models")
        .replace("from PACKAGE import recipes", "from . import recipes"),
        "shapes/models": SHAPES["net"],
        "shapes/recipes": SHAPES["recipes"],
    }
    assert digest_of(moved, module="shapes.problem") == digest_of(SHAPES)


def test_the_digest_of_a_lone_module_covers_the_modules_it_imports_beside_it(
    digest_of: Callable[..., str],
) -> None:
    lone = {"lone_task": "import lone_net\nimport os\nclass Own:\n    f = lone_net.f\n"}
    lone |= {"lone_net": "from lone_deep import f\n", "lone_deep": "f = 1\n", "aside": "f = 1\n"}

    def digest(**files: str) -> str:
        return digest_of(lone | files, package=False, module="lone_task")

    assert digest() == digest(aside="f = 2\n")
    assert digest() != digest(lone_deep="f = 2\n")


def test_the_digest_of_a_lone_module_covers_the_packages_it_imports_beside_it(
    digest_of: Callable[..., str],
) -> None:
    lone = {"lone_own": "from lone_nets import wide\nclass Own:\n    f = wide.f\n"}
    lone |= {"lone_nets/__init__": "", "lone_nets/wide": "from lone_rate import f\n"}
    lone |= {"lone_rate": "f = 1\n", "aside/__init__": "f = 1\n"}

    def digest(files: Files) -> str:
        return digest_of(lone | files, package=False, module="lone_own")

    assert digest({}) == digest({"aside/__init__": "f = 2\n"})
    more = {"lone_nets/wide": "from lone_rate import f\nf += 1\n"}
    assert len({digest({}), digest(more), digest({"lone_rate": "f = 2\n"})}) == 3


def test_packages_beside_an_installed_module_are_libraries(tmp_path: Path) -> None:
    folder = tmp_path / "site-packages"
    (folder / "library").mkdir(parents=True)
    (folder / "library" / "__init__.py").write_text("")
    (folder / "plugin.py").write_text("import library\n")
    assert [each.name for each in code_digest._modules_beside(folder / "plugin.py")] == ["plugin"]


def test_modules_that_import_each_other_have_a_digest(digest_of: Callable[..., str]) -> None:
    circle = {"lone_a": "class Own: pass\nimport lone_b\n", "lone_b": "import lone_a\n"}
    assert len(digest_of(circle, package=False, module="lone_a")) == 64


def test_a_class_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typed_in", types.ModuleType("typed_in"))
    with pytest.raises(ValueError, match=r"'Typed' was not read from a file.*into a module"):
        source_digest(type("Typed", (), {"__module__": "typed_in"}))
