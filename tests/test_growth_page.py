"""The page on what more work costs is that of the results that the benchmarks kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "reports" / "benchmarks" / "growth_page.py"


def test_the_committed_page_is_made_from_the_committed_results() -> None:
    spec = importlib.util.spec_from_file_location("growth_page", SCRIPT)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), (
        "run reports/benchmarks/growth_page.py"
    )
