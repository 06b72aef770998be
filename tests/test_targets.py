"""The page of what is aimed at: which row stands for a target, and what it says is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.report_rows import bits, row
from support.scripts import load_script

PATH = Path(__file__).parents[1] / "reports" / "targets" / "page.py"
SMALL: dict[str, Any] = {
    "what": "small", "max_bytes": 50_000, "weights": "float32", "floor": 89.0, "goal": 91.0
}  # fmt: skip
HALF: dict[str, Any] = {
    "what": "half", "of": "taught", "over": "alone", "seeds": 2, "floor": 0.8, "goal": 1.5
}  # fmt: skip


@pytest.fixture
def page() -> Any:
    return load_script(PATH)


def test_the_most_accurate_row_within_the_limits_stands_for_a_target(page: Any) -> None:
    rows = [
        row(bits(9300), label="too large", file_bytes=50_001),
        row(bits(9200), label="of other weights", file_bytes=9_000, weight_types={"int4": 117_698}),
        row(bits(8950), label="it", file_bytes=50_000),
        row(bits(8900), label="less", file_bytes=40_000),
    ]
    line = page.best_line(SMALL, rows)
    assert line == "| small | 89 | 91 | floor | 89.50 (88.9 to 90.1) | 50,000 | `it` |"
    assert page.best_line(SMALL, rows[:2]) == "| small | 89 | 91 | no row yet | | | |"


@pytest.mark.parametrize(
    ("right", "said"), [(8899, "**not the floor**"), (8900, "floor"), (9100, "goal")]
)
def test_what_is_reached(page: Any, right: int, said: str) -> None:
    assert f"| {said} |" in page.best_line(SMALL, [row(bits(right), file_bytes=40_000)])


def test_a_final_model_is_marked(page: Any) -> None:
    final = row(bits(9000), file_bytes=40_000, trained_on="train+validation")
    assert page.best_line(SMALL, [final]).endswith("`baseline`, trained on train+validation |")


def test_the_readme_opens_with_what_reaches_the_goal_and_with_nothing_else(page: Any) -> None:
    digest = page.zoo.models()["r14-int4"].row["tflite_digest"]
    found = row(bits(9100), file_bytes=40_000, tflite_digest=digest)
    assert page.headline(SMALL, [found]) == (
        "**91.00 % of the 10,000 test images of CIFAR-10, in one file of 40,000 bytes.**"
        " `compress verify zoo:r14-int4` measures it again.\n"
    )
    elsewhere = row(bits(9100), file_bytes=40_000)
    assert page.headline(SMALL, [elsewhere]).endswith("40,000 bytes.**\n")
    assert page.headline(SMALL, [row(bits(9099), file_bytes=40_000)]) == ""
    assert page.headline(SMALL, []) == ""


def test_the_committed_readme_opens_with_that(page: Any) -> None:
    kept = page.HEADLINE.search(page.README.read_text("utf-8"))
    assert kept is not None
    assert kept[0] == page.opening(), "run reports/targets/page.py"


def test_a_difference_is_the_mean_over_the_seeds_that_both_have(page: Any) -> None:
    rows = [row(bits(8500 + 100 * seed), label="taught", seed=seed) for seed in (0, 1, 2)]
    rows += [row(bits(8400), label="alone", seed=seed) for seed in (0, 1)]
    line = page.difference_line(HALF, rows)
    assert line == "| half | +0.8 | +1.5 | goal | +1.50 (+1.00, +2.00) | `taught` | `alone` |"
    few = page.difference_line(HALF, rows[:4])
    assert "| 1 of 2 seeds missing | +1.00 (+1.00) |" in few
    assert "no row yet" in page.difference_line(HALF, rows[:3])


def test_the_baseline_is_the_same_for_all_seeds(page: Any) -> None:
    rows = [row(bits(8900 + seed), label="taught", seed=seed) for seed in (0, 1)]
    line = page.difference_line(HALF | {"over": "baseline"}, [*rows, row(bits(9000))])
    assert "(-1.00, -0.99)" in line
