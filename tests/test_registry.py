"""Stages and tasks are found by entry point; unknown names are refused in a sentence with the nearest name."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from compress import registry


def test_built_in_and_plugin_stages_are_found() -> None:
    assert {"prune", "round"} <= set(registry.stage_names())
    assert registry.stage("round").__module__ == "compress_round"


def test_tasks_are_found() -> None:
    assert {"cifar10", "toy"} <= set(registry.task_names())
    assert registry.task("toy").name == "toy"


def test_unknown_stage_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ValueError, match=r"no stage 'prun'; stages here: .*prune.*Did you mean 'prune'\?"
    ):
        registry.stage("prun")


def test_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="no task 'imagenet'; tasks here: cifar10, images, toy"):
        registry.task("imagenet")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"sparsity": 0.5}, "needs the key 'stage'"),
        ({"stage": "round", "digit": 3}, "round: no option 'digit'; options here: digits"),
        ({"stage": "round", "digits": 9}, "round: option 'digits': 9 is not in the range"),
    ],
)
def test_bad_spec_is_refused(spec: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        registry.build(spec)


def test_stage_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no_such_module:Broken", "compress.stages")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    with pytest.raises(
        ValueError, match="stage 'broken' cannot be loaded from no_such_module:Broken"
    ):
        registry.stage("broken")


def test_two_stages_with_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("twice", f"{m}:Twice", "compress.stages") for m in ("one", "two")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    with pytest.raises(ValueError, match="two stages are called 'twice': one:Twice and two:Twice"):
        registry.stage_names()


def test_same_entry_point_listed_twice_is_one_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable install beside a wheel lists each entry point twice."""
    points = [EntryPoint("once", "one:Once", "compress.stages")] * 2
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert registry.stage_names() == ["once"]
