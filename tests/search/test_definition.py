"""The file of a search: what it holds, and how a damaged file is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from compress.cli.search_options import SEARCH_OPTIONS
from compress.search import definition
from compress.search.definition import OBJECTIVES, Definition

OPTIONS: dict[str, Any] = {
    "task": "toy", "data": "/a", "input_scale": None, "mean": None, "std": None, "bgr": False, "resize": None,
    "seed": 0, "deterministic": False, "precision": "auto", "model": None, "trust": False, "results": "/r.jsonl",
}  # fmt: skip
ONE = Definition(
    name="one",
    space={"chains": ["quantize"]},
    objectives=("top1", "macs"),
    limits={"flash": 8000},
    options=OPTIONS,
    trials=3,
)


def file_of(out: Path) -> Path:
    return definition.folder_of(out, "one") / definition.FILE


def test_a_saved_search_loads_as_the_same_search(tmp_path: Path) -> None:
    ONE.save(tmp_path)
    assert definition.load(tmp_path, "one") == ONE


def test_the_default_name_depends_on_the_search_and_not_on_its_budget_or_storage() -> None:
    def name(**changed: object) -> str:
        return definition.default_name("toy", dataclasses.replace(ONE, **changed))  # type: ignore[arg-type]

    assert name() == name(minutes=5.0, trials=None, storage="sqlite:///x.db") == name(name="two")
    others = {name(limits={}), name(objectives=("top1",)), name(options={"seed": 1})}
    assert len({name(), *others}) == 4


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"minutes": 9.0, "lease": 5.0}, True),
        ({"limits": {}}, False),
        ({"storage": "sqlite:///x.db"}, False),
        ({"options": {**ONE.options, "model": "/b.keras"}}, False),
        ({"options": {**ONE.options, "data": "/b"}}, False),
        ({"options": {**ONE.options, "results": "/b.jsonl"}}, False),
    ],
)
def test_other_words_except_the_budget_make_another_search(
    changed: dict[str, Any], same: bool
) -> None:
    assert ONE.is_same_as(dataclasses.replace(ONE, **changed)) == same


def test_a_given_budget_replaces_the_old_budget() -> None:
    assert ONE.with_budget(None, None) == ONE
    assert ONE.with_budget(5.0, None) == dataclasses.replace(ONE, minutes=5.0, trials=None)


def test_a_search_refuses_another_model_or_other_data_than_it_began_with(tmp_path: Path) -> None:
    inputs = {"model": "a", "train": "b", "validation": "c"}
    begun = ONE.with_inputs(inputs)
    begun.save(tmp_path)
    loaded = definition.load(tmp_path, "one")
    assert loaded == begun == loaded.with_inputs(inputs)
    assert (loaded.digest, loaded.is_same_as(ONE)) == (ONE.digest, True)
    with pytest.raises(
        ValueError, match="search one began with another model and other validation"
    ):
        loaded.with_inputs({**inputs, "model": "x", "validation": "y"})
    with pytest.raises(ValueError, match=r"began with other training images: .* another --name"):
        loaded.with_inputs({**inputs, "train": "x"})


def test_the_file_of_an_older_version_without_digests_is_read(tmp_path: Path) -> None:
    ONE.save(tmp_path)
    record = json.loads(file_of(tmp_path).read_text())
    del record["inputs"]
    file_of(tmp_path).write_text(json.dumps(record))
    assert definition.load(tmp_path, "one") == ONE


def test_an_unknown_search_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    ONE.save(tmp_path)
    with pytest.raises(ValueError, match="no search 'onw' in ") as raised:
        definition.load(tmp_path, "onw")
    assert str(raised.value).endswith("; there are one. Did you mean 'one'?")


@pytest.mark.parametrize("name", ["../up", "", "a/b", ".hidden", "x" * 81, "ä"])
def test_a_search_name_that_is_no_plain_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a name for a search"):
        definition.load(tmp_path, name)


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    ONE.save(tmp_path)
    real = file_of(tmp_path).rename(tmp_path / "elsewhere.json")
    file_of(tmp_path).symlink_to(real)
    with pytest.raises(ValueError, match="is a link"):
        definition.load(tmp_path, "one")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 99}, "it is of version 99, expected 1"),
        ({"objectives": []}, "unknown objective"),
        ({"objectives": ["speed"]}, "unknown objective"),
        ({"minutes": -1}, "not a number above 0"),
        ({"limits": {"flash": "many"}}, "not a number above 0"),
        ({"limits": {"speed": 3}}, "unexpected keyword"),
        ({"space": {"chains": ["prun"]}}, "no stage 'prun'"),
        ({"name": "two"}, "it is of search 'two'"),
        ({"surplus": 1}, "unexpected keyword"),
        ({"storage": 3}, "its storage is neither text nor null"),
        ({"limits": {"flash": None}}, "not a number above 0"),
        ({"minutes": float("inf")}, "is too large"),
        ({"trials": 10**400}, "is too large"),
        ({"lease": None}, "not a number above 0"),
        ({"lease": float("inf")}, "is too large"),
        ({"lease": 10**9}, "is too large"),
        ({"inputs": ["a"]}, "its inputs are not the digests"),
        (
            {"inputs": {"model": "a", "train": "b", "validation": 3}},
            "its inputs are not the digests",
        ),
        ({"inputs": {"model": "a"}}, "its inputs are not the digests"),
        ({"options": {}}, "its options are not those that a search keeps"),
        ({"options": {**OPTIONS, "surplus": 1}}, "its options are not those that a search keeps"),
        ({"options": [1]}, "its options are not those that a search keeps"),
        ({"options": {**OPTIONS, "task": None}}, "its option task is None"),
        ({"options": {**OPTIONS, "data": 3}}, "its option data is 3"),
        ({"options": {**OPTIONS, "mean": ["much"]}}, "its option mean is ['much']"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    ONE.save(tmp_path)
    record = json.loads(file_of(tmp_path).read_text())
    file_of(tmp_path).write_text(json.dumps(record | change))
    with pytest.raises(ValueError, match="is not the file of a search") as raised:
        definition.load(tmp_path, "one")
    assert reason in str(raised.value)


def test_the_command_offers_every_objective() -> None:
    (option,) = [each for each in SEARCH_OPTIONS if each.name == "objectives"]
    assert list(option.type.choices) == list(OBJECTIVES)  # type: ignore[attr-defined]
