"""Foreign models: their training scripts, and the driver that runs all stages on them."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from compress import registry
from compress.api import write_pages
from compress.rows.jsonl import read_from

FOLDER = Path(__file__).parents[1] / "reports" / "strangers"
SCRIPTS = ("cifar.py", "residual.py", "vehicles.py", "digits.py", "vowels.py")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(FOLDER))
    return runpy.run_path(str(FOLDER / "every_stage.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_training_script_imports_nothing_of_the_toolkit(name: str) -> None:
    tree = ast.parse((FOLDER / name).read_text())
    imported = {
        alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
    }
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported
    assert {name.partition(".")[0] for name in imported} & {"compress", "baselines"} == set()


def test_the_driver_runs_every_shipped_stage(driver: dict[str, Any]) -> None:
    # The test plugin is installed while tests run.
    shipped = {name for name in registry.stage_names() if name != "round"}
    assert {word for words in driver["STAGES"] for word in words.split()} >= shipped


def test_the_models_of_the_driver_are_committed(driver: dict[str, Any]) -> None:
    needed = {f for model, (_, _, student) in driver["MODELS"].items() for f in (model, student)}
    assert {path.name for path in (FOLDER / "models").iterdir()} == needed
    assert all(model in (FOLDER / "README.md").read_text() for model in driver["MODELS"])


def test_the_committed_report_is_made_from_the_committed_rows(tmp_path: Path) -> None:
    write_pages(FOLDER / "results.jsonl", tmp_path)
    for name in ("comparison.md", "comparison.csv"):
        assert (tmp_path / name).read_text() == (FOLDER / name).read_text(), name


def test_rows_of_each_model_have_their_own_section(driver: dict[str, Any]) -> None:
    rows = read_from(FOLDER / "results.jsonl")
    assert {row.model_file for row in rows} == set(driver["MODELS"])
    heads = re.findall(r"^## (\S+) \(", (FOLDER / "comparison.md").read_text(), re.M)
    assert sorted(heads) == sorted(driver["MODELS"])
    assert all(re.fullmatch("[0-9a-f]{40}", row.commit) for row in rows)
