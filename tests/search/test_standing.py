"""What a search has found so far: kinds of trials, the best, the front, the time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.search.standing import Found, Standing, axes, front, kind, standing
from compress.search.storage import EXCESSES

optuna = pytest.importorskip("optuna", reason="extra search")
from compress.search.definition import Definition  # noqa: E402

FACTS: dict[str, Any] = {"gzip_bytes": 10, "arena_bytes": None, "macs": 5, "folder": "f"}


def found(number: int, top1: float, file_bytes: int) -> Found:
    facts = {**FACTS, "top1": top1, "file_bytes": file_bytes, "run": str(number)}
    return Found(number=number, words=f"w{number}", facts=facts, fits=True)


def standing_of(*trials: Any, objectives: tuple[str, ...] = ("top1",)) -> Standing:
    study = optuna.create_study(directions=["maximize"])
    study.add_trials(trials)
    definition = Definition(
        name="x", space={}, objectives=objectives, limits={"flash": 9}, options={}
    )
    return standing(study, definition)


def trial(state: str, **attributes: Any) -> Any:
    value = attributes.pop("value", 0.5 if state == "COMPLETE" else None)
    return optuna.create_trial(
        state=optuna.trial.TrialState[state], value=value, user_attrs=attributes
    )


def complete(number: int, top1: float, excess: float) -> Any:
    each = found(number, top1, 100)
    return trial("COMPLETE", words=each.words, result=each.facts, **{EXCESSES: [excess]})


@pytest.mark.parametrize("attributes", [{}, {"words": "w"}, {"words": "w", "result": {"top1": 1}}])
def test_a_finished_trial_that_belongs_to_no_search_is_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="trial 0 in the storage does not belong to a search"):
        standing_of(trial("COMPLETE", **attributes))


@pytest.mark.parametrize(
    "folder", ["/elsewhere/x", "../x", "..", ".", "", "a/", "a\\b", "a\0", 3, None]
)
def test_a_run_folder_that_is_no_plain_folder_name_is_refused(folder: object) -> None:
    facts = {**found(0, 0.9, 100).facts, "folder": folder}
    with pytest.raises(ValueError, match="expected the name of a folder in --out"):
        standing_of(trial("COMPLETE", words="w", result=facts))


def test_the_front_has_the_trials_that_no_other_dominates() -> None:
    several = [found(0, 0.9, 100), found(1, 0.8, 50), found(2, 0.8, 60), found(3, 0.7, 50)]
    assert [each.number for each in front(several, ("top1", "file_bytes"))] == [0, 1]


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=40))
def test_the_front_equals_the_brute_force_front(points: list[tuple[int, int, int]]) -> None:
    names = ("file_bytes", "gzip_bytes", "macs")
    several = [
        Found(number=n, words="w", facts=dict(zip(names, point, strict=True)), fits=True)
        for n, point in enumerate(points)
    ]
    best = {
        p for p in points if not any(q != p and all(map(int.__le__, q, p)) for q in points)
    }  # fmt: skip
    kept = front(several, names)
    assert [tuple(each.facts[n] for n in names) for each in kept] == sorted(best)


def test_the_first_of_equal_trials_is_on_the_front() -> None:
    equals = [found(4, 0.9, 100), found(5, 0.9, 100)]
    assert [each.number for each in front(equals, ("top1", "file_bytes"))] == [4]


def test_an_unmeasured_amount_is_infinite() -> None:
    assert found(0, 0.9, 1).amount("arena_bytes") == float("inf")


def test_a_single_objective_is_drawn_against_bytes() -> None:
    assert axes(("top1",)) == ("top1", "file_bytes")
    assert axes(("top1", "macs")) == ("top1", "macs")


def test_a_trial_over_a_limit_is_neither_best_nor_on_the_front() -> None:
    so_far = standing_of(complete(0, 0.9, 0.01), complete(1, 0.6, 0.0), complete(2, 0.7, -0.5))
    assert so_far.finished == 3
    assert so_far.best is not None
    assert so_far.best.facts["run"] == "2"
    assert [each.facts["run"] for each in so_far.front] == ["2"]


def test_a_run_of_two_trials_is_on_the_front_once() -> None:
    so_far = standing_of(complete(1, 0.6, 0.0), complete(1, 0.6, 0.0))
    assert len(so_far.front) == 1


def test_trials_are_counted_by_how_they_ended() -> None:
    trials = [
        trial("PRUNED"), trial("PRUNED", refused="too large"), trial("FAIL", failed="ValueError: x"),
        trial("FAIL"), trial("RUNNING"), trial("WAITING"), complete(0, 0.5, 0.0),
    ]  # fmt: skip
    assert [kind(each) for each in trials] == [
        "stopped", "refused", "failed", "interrupted", "running", "interrupted", "finished",
    ]  # fmt: skip
    so_far = standing_of(*trials)
    assert (so_far.tried, so_far.refused, so_far.running) == (3, 1, 1)
