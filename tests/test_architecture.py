"""The map is true: its rooms are those of the import contracts, and whoever looks where it says finds what it says."""

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
    """The rooms of each floor, as the import contract has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers"]
    return [{room.strip(" ()") for room in layer.split(":")} for layer in layers]


def test_the_picture_has_the_floors_of_the_import_contract() -> None:
    (picture,) = [b for b in re.findall(r"```text\n(.*?)```", PAGE, re.S) if "__main__" in b]
    drawn = [{line.split()[0] for line in floor.splitlines()} for floor in picture.split("\n\n")]
    assert drawn == floors()


def test_every_room_is_there_and_every_module_is_in_one() -> None:
    modules = {p.stem for p in (ROOT / "compress").glob("*.py")} - {"__init__", "_version"}
    packages = {p.parent.name for p in (ROOT / "compress").glob("*/__init__.py")}
    assert set().union(*floors()) == modules | packages


def test_every_package_says_what_it_is_for_and_holds_nothing_else() -> None:
    for path in [*ROOT.glob("compress/*/__init__.py"), *ROOT.glob("baselines/*/__init__.py")]:
        tree = ast.parse(path.read_text())
        assert len(tree.body) == 1, path
        assert len((ast.get_docstring(tree) or "").splitlines()) >= 2, path


@pytest.mark.parametrize(("change", "file", "name"), LINES, ids=[line[0] for line in LINES])
def test_who_looks_there_finds_it(change: str, file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        defined |= {t.id for t in targets if isinstance(t, ast.Name)}
    assert name in defined


def test_there_are_lines_to_hold() -> None:
    assert len(LINES) == len(re.findall(r"^\| .* \| `.*` \| `.*` \|$", PAGE, re.M)) >= 20
