"""The study of a search in its database: who may open it, and how a trial of a dead process is run again."""

from __future__ import annotations

import dataclasses
import pickle
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from compress.search import definition, storage
from compress.search.definition import Definition

optuna = pytest.importorskip("optuna", reason="extra search")

ONE = Definition(
    name="one",
    space={"chains": ["quantize"]},
    objectives=("top1",),
    limits={"flash": 8000},
    options={"seed": 0},
    trials=3,
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    ONE.save(tmp_path)
    return tmp_path


def database(out: Path) -> Path:
    return definition.folder_of(out, "one") / storage.FILE


def test_a_reopened_study_has_its_trials(out: Path) -> None:
    storage.open_study(ONE, out).optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
    assert [t.number for t in storage.open_study(ONE, out).trials] == [0, 1]


def test_a_resumed_search_does_not_repeat_its_first_proposals(out: Path) -> None:
    for _ in range(2):
        storage.open_study(ONE, out).optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
    assert len({t.params["x"] for t in storage.open_study(ONE, out).trials}) == 4


def test_several_objectives_have_another_sampler_and_no_pruner(out: Path) -> None:
    two = dataclasses.replace(ONE, name="two", objectives=("top1", "macs"))
    two.save(out)
    study = storage.open_study(two, out)
    assert isinstance(study.sampler, optuna.samplers.NSGAIISampler)
    assert isinstance(study.pruner, optuna.pruners.NopPruner)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    one = storage.open_study(ONE, out)
    assert isinstance(one.sampler, optuna.samplers.TPESampler)
    assert isinstance(one.pruner, optuna.pruners.MedianPruner)


def test_braces_in_a_folder_name_are_not_a_template(tmp_path: Path) -> None:
    folder = tmp_path / "{SCHEMA_VERSION}"
    ONE.save(folder)
    storage.open_study(ONE, folder)
    assert database(folder).exists()


def test_another_search_of_the_same_name_in_one_storage_is_refused(out: Path) -> None:
    storage.open_study(ONE, out)
    other = dataclasses.replace(ONE, limits={})
    with pytest.raises(ValueError, match="another search called one: give this one another --name"):
        storage.open_study(other, out)


def test_a_storage_of_another_version_is_refused(out: Path) -> None:
    storage.open_study(ONE, out)
    with sqlite3.connect(database(out)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    with pytest.raises(ValueError, match="was written by another version of Optuna"):
        storage.open_study(ONE, out)


def test_a_file_that_is_no_database_is_refused(out: Path) -> None:
    database(out).write_bytes(b"these are no pages of a database" * 100)
    with pytest.raises(ValueError, match="cannot be used: file is not a database"):
        storage.open_study(ONE, out)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "'nonsense' is not the URL of a database"),
        ("mysql://user@host/name", "is kept in sqlite or postgresql, not in mysql"),
        ("redis://host", "not in redis"),
        ("postgresql://user:secret@host/name", "set PGPASSWORD or write ~/.pgpass"),
        (
            "postgresql+psycopg://user@host/name?password=secret",
            "set PGPASSWORD or write ~/.pgpass",
        ),
        ("postgresql://user@host/name?sslpassword=secret", "set PGPASSWORD or write ~/.pgpass"),
        ("postgresql://u@host/x?connect_timeout=9&password=secret&password=b", "set PGPASSWORD"),
        ("postgresql://host/name?conninfo=user%3Du%20password%20%3D%20secret", "set PGPASSWORD"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        storage.check_url(url)
    assert "secret" not in str(raised.value)


def test_a_url_with_a_password_file_is_accepted() -> None:
    storage.check_url("postgresql+psycopg://user@host/name?passfile=/home/user/password")


@pytest.mark.parametrize(
    ("directions", "trials"), [(["maximize"], 1), (["minimize"], 0), (["maximize"] * 2, 0)]
)
def test_a_study_of_no_search_is_refused_and_unchanged(
    out: Path, directions: list[str], trials: int
) -> None:
    url = f"sqlite:///{out / 'own.db'}"
    own = optuna.create_study(study_name="one", storage=url, directions=directions)
    own.set_user_attr("whose", "mine")
    own.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
    with pytest.raises(ValueError, match="one that does not belong to a search: give this search"):
        storage.open_study(dataclasses.replace(ONE, storage=url), out)
    assert own.user_attrs == {"whose": "mine"}


def test_an_empty_study_with_the_same_objectives_is_used(out: Path) -> None:
    url = f"sqlite:///{out / 'own.db'}"
    optuna.create_study(study_name="one", storage=url, direction="maximize")
    assert storage.open_study(dataclasses.replace(ONE, storage=url), out).trials == []


def test_nothing_is_pickled_or_unpickled(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that somebody else wrote holds no code: what is read from it are numbers, texts and JSON."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("pickled")

    for name in ("loads", "load", "dumps", "dump", "Unpickler", "Pickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(storage, "POPULATION", 3)
    for each in (ONE, dataclasses.replace(ONE, name="two", objectives=("top1", "macs"))):
        each.save(out)
        study = storage.open_study(each, out)
        values = [0.5] * len(each.objectives)

        def objective(trial: Any, values: list[float] = values) -> list[float]:
            trial.suggest_categorical("chain", ["a", "b"])
            trial.set_user_attr(storage.EXCESSES, [0.1])
            return values

        study.optimize(objective, n_trials=storage.POPULATION + 2)
        assert len(storage.open_study(each, out).trials) == storage.POPULATION + 2


def test_a_trial_whose_lease_ran_out_is_run_again_with_the_same_options(out: Path) -> None:
    study = storage.open_study(ONE, out)
    with pytest.warns(UserWarning, match="Heartbeat"):  # as nothing renews its lease
        lost = study.ask()
    chosen = lost.suggest_float("x", 0, 1)
    study._storage.record_heartbeat(lost._trial_id)  # and no more
    seen = []

    def objective(trial: Any) -> float:
        seen.append(trial.suggest_float("x", 0, 1))
        return 0.0

    study.optimize(objective, n_trials=1)
    assert seen != [chosen]  # its lease has not run out
    with sqlite3.connect(database(out)) as connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'")
    study.optimize(objective, n_trials=1)
    assert seen[1] == chosen
    assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_two_studies_opened_together_do_not_begin_with_the_same_proposals(out: Path) -> None:
    seen = []

    def objective(trial: Any) -> float:
        seen.append(trial.suggest_float("x", 0, 1))
        return 0.0

    for study in [storage.open_study(ONE, out) for _ in range(2)]:
        study.optimize(objective, n_trials=1)
    assert seen[0] != seen[1]
