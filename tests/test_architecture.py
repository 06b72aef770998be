"""docs/architecture.md is correct: its diagram matches the import contracts, and its table names existing code."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LINES = re.findall(r"^\| ([^|]+) \| `([^`|]+)` \| `([^`|]+)` \|$", PAGE, re.M)


def floors() -> list[set[str]]:
    """The modules and packages of each layer of the import contract."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers"]
    return [{room.strip(" ()") for room in layer.split(":")} for layer in layers]


def test_the_diagram_has_the_layers_of_the_import_contract() -> None:
    (picture,) = [b for b in re.findall(r"```text\n(.*?)```", PAGE, re.S) if "__main__" in b]
    drawn = [{line.split()[0] for line in floor.splitlines()} for floor in picture.split("\n\n")]
    assert drawn == floors()


def test_the_import_contract_lists_every_module_and_package() -> None:
    modules = {p.stem for p in (ROOT / "compress").glob("*.py")} - {"__init__", "_version"}
    packages = {p.parent.name for p in (ROOT / "compress").glob("*/__init__.py")}
    assert set().union(*floors()) == modules | packages


def test_every_package_init_has_a_docstring_and_nothing_else() -> None:
    for path in [*ROOT.glob("compress/*/__init__.py"), *ROOT.glob("baselines/*/__init__.py")]:
        tree = ast.parse(path.read_text())
        assert len(tree.body) == 1, path
        assert len((ast.get_docstring(tree) or "").splitlines()) >= 2, path


@pytest.mark.parametrize(("change", "file", "name"), LINES, ids=[line[0] for line in LINES])
def test_every_name_in_the_table_is_defined_in_its_file(change: str, file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        defined |= {t.id for t in targets if isinstance(t, ast.Name)}
    assert name in defined


def test_every_line_of_the_table_is_tested() -> None:
    assert len(LINES) == len(re.findall(r"^\| .* \| `.*` \| `.*` \|$", PAGE, re.M)) >= 20
