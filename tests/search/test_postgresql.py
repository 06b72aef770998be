"""A search whose trials are in PostgreSQL, started here on a socket of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.search import storage
from compress.search.definition import Definition

pytest.importorskip("optuna", reason="extra search")
pytest.importorskip("psycopg", reason="the driver of PostgreSQL")


def test_two_studies_share_one_search_and_another_search_is_refused(
    tmp_path: Path, url: str
) -> None:
    storage.check_url(url)
    one = Definition(
        name="one", space={}, objectives=("top1",), limits={"flash": 8000}, options={"seed": 0},
        storage=url,
    )  # fmt: skip
    ours, theirs = (storage.open_study(one, tmp_path / n) for n in ("ours", "theirs"))
    seen = []

    def objective(trial: Any) -> float:
        seen.append(trial.suggest_float("x", 0, 1))
        trial.set_user_attr(storage.EXCESSES, [-0.5])
        return 0.5

    for study in (ours, theirs, ours):
        study.optimize(objective, n_trials=1)
    assert [trial.params["x"] for trial in theirs.trials] == seen
    assert len(set(seen)) == 3
    with pytest.raises(ValueError, match="another search called one"):
        storage.open_study(dataclasses.replace(one, limits={}), tmp_path)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close the connections at the end of each test, not at the end of the process."""
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    opened = []

    def note(connection: Any, record: Any) -> None:
        opened.append(connection)

    event.listen(Pool, "connect", note)
    yield
    event.remove(Pool, "connect", note)
    for connection in opened:
        connection.close()


def test_a_missing_server_is_refused_in_one_sentence(tmp_path: Path) -> None:
    one = Definition(
        name="one", space={}, objectives=("top1",), limits={}, options={},
        storage=f"postgresql+psycopg://nobody@/none?host={tmp_path}",
    )  # fmt: skip
    with pytest.raises(ValueError, match="cannot be used: connection is bad") as raised:
        storage.open_study(one, tmp_path)
    assert len(str(raised.value).splitlines()) == 1
