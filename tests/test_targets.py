"""The page of targets: the row chosen for each target, and the stated level that it reaches."""

from __future__ import annotations

import re
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
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PATH.parent))
    return load_script(PATH)


def test_the_line_of_a_target_has_the_most_accurate_row_within_the_limits(page: Any) -> None:
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
def test_the_line_of_a_target_says_whether_floor_or_goal_is_reached(
    page: Any, right: int, said: str
) -> None:
    assert f"| {said} |" in page.best_line(SMALL, [row(bits(right), file_bytes=40_000)])


def test_a_model_trained_on_validation_images_is_marked(page: Any) -> None:
    final = row(bits(9000), file_bytes=40_000, trained_on="train+validation")
    assert page.best_line(SMALL, [final]).endswith("`baseline`, trained on train+validation |")


def test_the_headline_names_a_row_only_if_it_reaches_the_goal(page: Any) -> None:
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


def test_the_committed_readme_has_the_current_headline(page: Any) -> None:
    kept = page.HEADLINE.search(page.README.read_text("utf-8"))
    assert kept is not None
    assert kept[0] == page.opening(), "run reports/targets/page.py"


def test_the_committed_picture_has_the_curves_of_the_committed_rows(page: Any) -> None:
    rows = page.measured(page.parts_of(page.targets()))
    curves = page.curves_of(page.tried_for(page.targets(), rows), rows)
    drawn = re.findall(r"<!-- (.* - -.*) -->", page.PAGE.with_suffix(".svg").read_text("utf-8"))
    # Labels are comments beside their outlines; an XML comment must not contain "--".
    assert sorted(drawn) == sorted(label.replace("--", "- -") for label in curves)


def test_a_difference_is_the_mean_over_common_seeds(page: Any) -> None:
    rows = [row(bits(8500 + 100 * seed), label="taught", seed=seed) for seed in (0, 1, 2)]
    rows += [row(bits(8400), label="alone", seed=seed) for seed in (0, 1)]
    line = page.difference_line(HALF, rows)
    assert line == "| half | +0.8 | +1.5 | goal | +1.50 (+1.00, +2.00) | `taught` | `alone` |"
    few = page.difference_line(HALF, rows[:4])
    assert "| 1 of 2 seeds missing | +1.00 (+1.00) |" in few
    assert "no row yet" in page.difference_line(HALF, rows[:3])


def test_one_baseline_row_is_compared_with_all_seeds(page: Any) -> None:
    rows = [row(bits(8900 + seed), label="taught", seed=seed) for seed in (0, 1)]
    line = page.difference_line(HALF | {"over": "baseline"}, [*rows, row(bits(9000))])
    assert "(-1.00, -0.99)" in line


def test_the_baseline_row_of_another_incoming_model_is_not_compared_with(page: Any) -> None:
    rows = [row(bits(8900), label="taught"), row(bits(9000)), row(bits(8000), model_file="a.keras")]
    target = HALF | {"over": "baseline", "seeds": 1}
    assert "| -1.00 (-1.00) |" in page.difference_line(target, rows)


def test_a_row_with_more_macs_than_the_target_allows_is_not_used(
    page: Any,
) -> None:
    target = HALF | {"over": "baseline", "seeds": 1, "macs_left": 0.5}
    whole = row(bits(9000), macs=1000)
    kept = row(bits(8900), label="taught", macs=500)
    assert "| -1.00 (-1.00) |" in page.difference_line(target, [whole, kept])
    assert "| `--model zoo:it taught` |" in page.difference_line(
        target | {"model": "zoo:it"}, [whole, kept]
    )
    larger = row(bits(8900), label="taught", macs=501)
    assert "| no row yet |" in page.difference_line(target, [whole, larger])


def test_tried_rows_are_listed_only_for_targets_below_their_floor(page: Any) -> None:
    wanted = {
        "best": [SMALL, SMALL | {"what": "easy", "floor": 80.0}],
        "difference": [HALF | {"tried_begin": "ta"}],
    }
    curve = [0.7, 0.88]
    rows = [
        row(bits(8800), label="train", file_bytes=60_000, curve=curve),
        row(bits(8700), label="train quantize", file_bytes=40_000),
        row(bits(8850), label="other", file_bytes=40_000),
        row(bits(8400), label="taught", file_bytes=60_000),
        row(bits(8390), label="tame", file_bytes=60_000),
        row(bits(8400), label="alone", file_bytes=60_000),
    ]
    tried = page.tried_for(wanted, [*rows, rows[2]])  # one of the rows is also in the zoo
    labels = {what: [each.label for each in found] for what, found in tried.items()}
    assert labels == {"small": ["other", "train quantize"]}  # a seed is missing: undecided
    assert page.curves_of(tried, rows) == {"train": curve}
    lines = page.below_the_floor(wanted, rows)
    assert "| 88.50 | 40,000 | 0 | `other` |" in lines
    assert any(line.startswith("![") for line in lines)
    one_seed = {"best": [], "difference": [HALF | {"tried_begin": "ta", "seeds": 1}]}
    (found,) = page.tried_for(one_seed, rows).values()
    assert [each.label for each in found] == ["taught", "tame"]
    assert page.below_the_floor({"best": [], "difference": []}, rows) == []
