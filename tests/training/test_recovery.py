"""A training of trained weights searches its rate, restarts if it diverges, and is undone if it does harm."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import registry
from compress.files import write_json
from compress.keras_models.model import KerasModel
from compress.stages.prune import Prune
from compress.tasks.view import TaskView
from compress.training import recovery
from compress.training.divergence import Diverged, far_below
from compress.training.fit import fit
from compress.training.learning_rate import GRID, Trials, with_warmup
from compress.training.recipe import Recipe
from compress.training.recovery import ATTEMPTS, Recovery, _Decided, fit_recovering
from compress.training_stage import TrainingStage
from support.tiny_training import RECIPES, SEED, Began, Tiny, Watcher, view

TWO = dataclasses.replace(RECIPES["sgd"], epochs=2)


@pytest.fixture(scope="module")
def good() -> list[np.ndarray]:
    """Weights of a trained tiny model."""
    model = Tiny().build()
    fit(model, RECIPES["sgd"], view(None, Watcher()), seed=SEED)
    return list(model.get_weights())


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The rate that each learning-rate search gave; the search is replaced by a constant."""
    calls: list[float] = []

    def quick(_: Trials, **__: bool) -> float:
        calls.append(0.01)
        return 0.01

    monkeypatch.setattr(Trials, "found_rate", quick)
    return calls


@pytest.fixture
def harming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every training end with other weights and an accuracy of zero."""

    def fit(model: Any, *_: Any, **__: Any) -> list[dict[str, float]]:
        model.set_weights([w + 1 for w in model.get_weights()])
        return [{"validation_accuracy": 0.0}]

    monkeypatch.setattr(recovery, "fit", fit)


def trained(
    weights: list[np.ndarray], folder: Path | None = None, progress: Any = None, **options: Any
) -> tuple[Any, Recovery, Any]:
    model, progress = Tiny().build(), progress or Watcher()
    model.set_weights(weights)
    data = view(folder, progress)
    return model, fit_recovering(model, TWO, data, seed=SEED, **options), progress


@pytest.mark.usefixtures("no_training_undone")
def test_a_found_rate_trains_as_if_it_had_been_given(good: list[np.ndarray]) -> None:
    """The trials leave no trace in weights, batches or dropout."""
    model, done, progress = trained(good)
    rate = done.recorded["learning_rate"]
    assert any(f"learning rate: {rate:.2g}, found" in note for note in progress.notes)
    other = Tiny().build()
    other.set_weights(good)
    recipe = dataclasses.replace(with_warmup(TWO), learning_rate=rate)
    history = fit(other, recipe, view(None, Watcher()), seed=SEED)
    assert [row["loss"] for row in history] == [row["loss"] for row in done.history]
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))


@pytest.mark.usefixtures("harming")
def test_a_given_learning_rate_is_not_searched(good: list[np.ndarray], found: list[float]) -> None:
    _, done, _ = trained(good, learning_rate=0.02)
    assert not found
    assert "learning_rate" not in done.recorded


class Killed(Exception):
    pass


def test_a_resumed_training_keeps_the_found_learning_rate(
    good: list[np.ndarray], found: list[float], tmp_path: Path
) -> None:
    class Killing(Watcher):
        def epoch(self, row: dict[str, float]) -> None:
            raise Killed

    with pytest.raises(Killed):
        trained(good, tmp_path, Killing())
    _, done, progress = trained(good, tmp_path)
    assert len(found) == 1
    assert progress.begun[-1] == 1
    assert done.recorded["learning_rate"] == 0.01


@pytest.mark.usefixtures("harming")
@pytest.mark.parametrize("content", [b"", b"[]", b'{"key": "other", "learning_rate": 9}', b"\xff"])
def test_an_unreadable_stored_rate_is_searched_again(
    good: list[np.ndarray], found: list[float], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / recovery.RATE).write_bytes(content)
    trained(good, tmp_path)
    assert len(found) == 1


def test_accuracy_before_the_first_epoch_is_reported_first(good: list[np.ndarray]) -> None:
    model, _, progress = trained(good, learning_rate=0.001)
    model.set_weights(good)
    data = view(None, Watcher())
    scores = model.predict(data.validation.images * np.float32(data.input_scale), verbose=0)
    accuracy = (scores.argmax(axis=1) == data.validation.labels).mean()
    assert progress.notes[0].startswith(f"before the first epoch: validation {accuracy:.4f} (")


def test_a_nan_loss_restarts_training_at_a_third_of_the_rate_and_then_undoes_it(
    good: list[np.ndarray],
) -> None:
    model, done, progress = trained(good, learning_rate=1e35)
    again = [note for note in progress.notes if "diverged" in note]
    assert len(again) == ATTEMPTS
    assert "no longer a finite number: it begins again at learning rate 3.3e+34" in again[0]
    assert [("begins again" in note) for note in again] == [True] * (ATTEMPTS - 1) + [False]
    last = pytest.approx(1e35 / 3 ** (ATTEMPTS - 1))  # the lowest rate that it trained at
    assert done.recorded == {"learning_rate": last, "training_undone": True}
    assert all(map(np.array_equal, model.get_weights(), good))


def test_a_restarted_training_that_converges_is_kept_with_its_rate_recorded(
    good: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rates: list[float] = []

    def diverging(model: Any, recipe: Any, *others: Any, **more: Any) -> Any:
        rates.append(recipe.learning_rate)
        if len(rates) < 3:
            model.set_weights([w * np.nan for w in good])
            raise Diverged("as the test wants")
        return fit(model, recipe, *others, **more)

    monkeypatch.setattr(recovery, "fit", diverging)
    model, done, _ = trained(good, tmp_path, learning_rate=0.009)
    assert rates == pytest.approx([0.009, 0.003, 0.001])
    assert done.recorded["learning_rate"] == pytest.approx(0.001)
    assert len(done.history) == 2
    assert np.isfinite(model.get_weights()[0]).all()
    trained(good, tmp_path, learning_rate=0.009)
    assert rates[3:] == pytest.approx([0.001])  # a resumed run does not diverge again


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rates of the trainings so far. Each diverges, except that every third is killed before it does."""
    rates: list[float] = []

    def fit(_: Any, recipe: Recipe, *__: Any, **___: Any) -> Any:
        rates.append(recipe.learning_rate)
        if len(rates) % 3 == 0:
            raise Killed
        raise Diverged("as the test wants")

    monkeypatch.setattr(recovery, "fit", fit)
    return rates


@pytest.mark.parametrize("given", [0.81, None])
@pytest.mark.usefixtures("found")
def test_a_resumed_training_counts_the_attempts_that_diverged_before(
    given: float | None, good: list[np.ndarray], rates: list[float], tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(Killed):
            trained(good, tmp_path, learning_rate=given)
    _, done, progress = trained(good, tmp_path, learning_rate=given)
    first = given or 0.01
    # The third and the fifth attempt are repeated, because they were killed.
    expected = [first / 3**n for n in (0, 1, 2, 2, 3, 4, 4)]
    assert rates == pytest.approx(expected)
    assert done.recorded == {"learning_rate": pytest.approx(rates[-1]), "training_undone": True}
    assert not [note for note in progress.notes if "found by short trials" in note]
    assert any("lowered after the training diverged" in note for note in progress.notes)
    trained(good, tmp_path, learning_rate=given)
    assert len(rates) == len(expected)  # no attempt is left


@pytest.mark.parametrize(("given", "stored"), [(0.9, 0.3), (None, 0.01)])
def test_a_stored_rate_without_a_count_of_attempts_is_read(
    given: float | None,
    stored: float,
    good: list[np.ndarray],
    harming: None,
    found: list[float],
    tmp_path: Path,
) -> None:
    """Files of earlier versions have no count. A rate below the given one was lowered."""
    decided = _Decided(
        with_warmup(TWO) if given is None else TWO, given, view(tmp_path, Watcher()), SEED
    )
    write_json(tmp_path / recovery.RATE, {"key": decided.key, "learning_rate": stored})
    _, done, progress = trained(good, tmp_path, learning_rate=given)
    assert not found
    assert done.recorded["learning_rate"] == stored
    lowered = any("lowered after the training diverged" in note for note in progress.notes)
    assert lowered == (given is not None)


def epochs(*accuracies: float) -> list[dict[str, float]]:
    return [{"validation_accuracy": accuracy} for accuracy in accuracies]


def test_two_epochs_far_below_the_beginning_are_divergence() -> None:
    check = far_below(0.9, 10, images=1000)
    check(epochs(0.3, 0.6, 0.4))
    with pytest.raises(Diverged, match=r"was 0\.3000 after 4 epochs, from 0\.9000"):
        check(epochs(0.3, 0.6, 0.4, 0.3))
    far_below(0.1, 10, images=1000)(epochs(0.1, 0.1, 0.1))


def test_a_drop_within_sampling_error_is_no_divergence() -> None:
    low = epochs(0.34, 0.34)
    far_below(0.4, 3, images=64)(low)
    with pytest.raises(Diverged):
        far_below(0.4, 3, images=6400)(low)


@pytest.mark.usefixtures("harming")
def test_a_training_that_does_harm_is_undone_and_says_so(good: list[np.ndarray]) -> None:
    model, done, progress = trained(good, learning_rate=0.02)
    assert done.recorded["training_undone"] is True
    assert any("so it is undone" in note for note in progress.notes)
    assert all(map(np.array_equal, model.get_weights(), good))


@pytest.mark.usefixtures("harming")
def test_pruning_whose_training_does_harm_equals_pruning_without_epochs(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    view = dataclasses.replace(toy_view, recorded={})
    harmed = Prune(epochs=1, learning_rate=0.1, sparsity=0.3).apply(toy_model, view, seed=0)
    assert view.recorded == {"training_undone": True}
    assert harmed.digest == Prune(epochs=0, sparsity=0.3).apply(toy_model, view, seed=0).digest


# distill trains a new network, at the learning rate of a recipe.
TRAIN_ON = [
    name
    for name in registry.stage_names()
    if issubclass(registry.stage(name), TrainingStage) and name != "distill"
]


@pytest.mark.parametrize("name", TRAIN_ON)
def test_a_stage_trains_at_a_rate_of_its_own_learning_rate_search(
    name: str, toy_model: KerasModel, toy_view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def fit(model: Any, recipe: Recipe, *_: Any, **__: Any) -> None:
        rates.append(recipe.learning_rate)
        raise Began

    monkeypatch.setattr(recovery, "fit", fit)
    with pytest.raises(Began):
        registry.stage(name)(epochs=1).apply(toy_model, toy_view, seed=0)
    assert rates[0] in GRID


def test_every_stage_that_trains_searches_its_rate_by_default() -> None:
    for name in registry.stage_names():
        fields = {f.name: f for f in dataclasses.fields(registry.stage(name))}
        if "learning_rate" in fields:
            assert fields["learning_rate"].default is None, name
