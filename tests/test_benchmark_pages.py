"""Pages about benchmarks are made from the committed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.scripts import load_script

REPORTS = Path(__file__).parents[1] / "reports"
SCRIPTS = [
    *(
        f"benchmarks/{name}"
        for name in ("growth_page", "search_against_hand", "slim_files", "teacher")
    ),
    "targets/page",
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_committed_page_is_made_from_the_committed_results(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = REPORTS / f"{name}.py"
    monkeypatch.syspath_prepend(str(path.parent))
    script = load_script(path)
    kept = script.PAGE.read_text(encoding="utf-8")
    assert kept == script.page(), f"run reports/{name}.py"
