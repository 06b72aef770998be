"""Fixtures shared by all tests: the toy task, a silent progress, golden files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.data.dataset import Dataset
from compress.keras_models.model import KerasModel
from compress.runs.context import RunContext
from compress.tasks.view import TaskView

# A folder with a dist-info counts as an installed distribution, so the plugin's entry point is found.
sys.path.insert(0, str(Path(__file__).parent / "plugin"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Rewrite the golden files.")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


class Silent:
    """Progress that records its rows and notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows: list[dict[str, float]] = []

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        self.done = done

    def step(self, step: int, loss: float, accuracy: float) -> None:
        pass

    def epoch(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@pytest.fixture
def silent() -> Silent:
    return Silent()


@pytest.fixture
def no_training_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the result of a training even if it did not help."""
    monkeypatch.setattr("compress.training.recovery._is_below", lambda *_: False)


@pytest.fixture(scope="session")
def toy_data() -> Dataset:
    from baselines.toy import Toy

    return Toy().load(None, print)


@pytest.fixture(scope="session")
def toy_model() -> Iterator[KerasModel]:
    """The toy task's trained baseline. Tests must not change it: the teardown checks its digest."""
    from baselines.toy import Toy
    from compress.model_files.load import load_model

    path = Toy().baseline_path()
    assert path is not None
    model = load_model(path)
    assert isinstance(model, KerasModel)
    before = model.digest
    yield model
    assert model.digest == before, "a test changed the model that all share: let it work on a copy"


@pytest.fixture
def toy_view(toy_data: Dataset, silent: Silent) -> TaskView:
    from baselines.toy import Toy

    return TaskView(Toy(), toy_data.train, toy_data.validation, None, silent, deterministic=True)


@pytest.fixture
def context(tmp_path: Path, toy_data: Dataset, silent: Silent) -> RunContext:
    """A run of the toy task, with its folders and rows below the test's own folder."""
    from baselines.toy import Toy

    return RunContext(
        task=Toy(), data=toy_data, seed=0, out=tmp_path / "runs",
        results=tmp_path / "reports" / "results.jsonl", progress=silent, command="compress run ...",
        deterministic=True,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in its own folder, offline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPRESS_OFFLINE", "1")
