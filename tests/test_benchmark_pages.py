"""Pages on what benchmarks measured are those of the results that they kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "reports" / "benchmarks"


@pytest.mark.parametrize("name", ["growth_page", "search_against_hand", "slim_files", "teacher"])
def test_the_committed_page_is_made_from_the_committed_results(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    kept = script.PAGE.read_text(encoding="utf-8")
    assert kept == script.page(), f"run reports/benchmarks/{name}.py"
