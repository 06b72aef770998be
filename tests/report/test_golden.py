"""One rendered report as a golden file."""

from __future__ import annotations

from pathlib import Path

from compress.report import pages
from support.report_rows import PUBLISHED, example

GOLDEN = Path(__file__).parents[1] / "golden" / "comparison.md"


def test_the_page_is_the_one_that_was_reviewed(tmp_path: Path, update_golden: bool) -> None:
    """Pages are committed under reports/: when the golden page changes, rebuild all of them."""
    pages.write_report(example(), [PUBLISHED], tmp_path)
    written = (tmp_path / "comparison.md").read_text()
    if update_golden:
        GOLDEN.write_text(written)
    assert GOLDEN.exists(), "no golden page: `pytest --update-golden` writes it; review it."
    assert written == GOLDEN.read_text()
