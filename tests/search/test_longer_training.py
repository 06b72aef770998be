"""In the second half of a search with --minutes, the best pipeline is trained with more epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.search.definition import Definition
from compress.search.longer_training import is_proposed, propose_longer_training
from compress.search.standing import PACE, RESULT, WORDS, standing

optuna = pytest.importorskip("optuna", reason="extra search")

MINUTES = 10
TEXTS = ["prune quantize", "finetune prune"]
SPACE = {
    "chains": TEXTS,
    "prune": {"epochs": {"low": 2, "high": 40, "log": True}},
    "finetune": {"epochs": [1, 4, 8]},
}
CHAINS = optuna.distributions.CategoricalDistribution(TEXTS)
EPOCHS = optuna.distributions.IntDistribution(2, 40, log=True)
SHORT = optuna.distributions.CategoricalDistribution([1, 4, 8])


def definition(**other: Any) -> Definition:
    given: dict[str, Any] = {
        "objectives": ("top1",),
        "limits": {},
        "options": {},
        "minutes": MINUTES,
    } | other
    return Definition(name="one", space=SPACE, **given)


def add(
    study: Any, top1: float, prune: int, finetune: int | None = None, pace: float = 1.0
) -> None:
    """Add a finished trial."""
    chain = TEXTS[0 if finetune is None else 1]
    words = chain.replace("prune", f"prune --epochs {prune}")
    params: dict[str, Any] = {"chain": chain, "prune.epochs": prune}
    distributions: dict[str, Any] = {"chain": CHAINS, "prune.epochs": EPOCHS}
    if finetune is not None:
        words = words.replace("finetune", f"finetune --epochs {finetune}")
        params["finetune.epochs"], distributions["finetune.epochs"] = finetune, SHORT
    facts = {"run": words, "folder": "f", "top1": top1, "file_bytes": 1}
    attributes = {WORDS: words, RESULT: facts, PACE: pace}
    values = [top1, 1.0][: len(study.directions)]
    study.add_trial(
        optuna.trial.create_trial(
            params=params, distributions=distributions, values=values, user_attrs=attributes
        )
    )


def proposed(study: Any, asked: Definition, left: float | None) -> list[dict[str, Any]]:
    """The proposals that wait after `propose_longer_training`."""
    propose_longer_training(study, asked, standing(study, asked), left)
    waiting = [t for t in study.trials if t.state.name == "WAITING"]
    return [trial.system_attrs["fixed_params"] for trial in waiting]


@pytest.fixture
def study() -> Any:
    return optuna.create_study(direction="maximize")


def test_at_half_time_the_best_is_proposed_with_as_many_epochs_as_fit(study: Any) -> None:
    add(study, 0.7, prune=10, pace=10)
    add(study, 0.6, prune=4, pace=1)
    # 0.85 of 300 seconds at 10 seconds an epoch.
    assert proposed(study, definition(), 300) == [{"chain": "prune quantize", "prune.epochs": 25}]


def test_all_stages_that_train_are_trained_longer_within_the_space(study: Any) -> None:
    add(study, 0.7, prune=5, finetune=1, pace=1)
    longer = {"chain": "finetune prune", "prune.epochs": 35, "finetune.epochs": 4}
    assert proposed(study, definition(), 50) == [longer]
    add(study, 0.8, prune=10, finetune=4, pace=0.1)
    assert proposed(study, definition(minutes=11), 50)[1:] == [
        {"chain": "finetune prune", "prune.epochs": 40, "finetune.epochs": 8}
    ]


def test_time_that_the_best_cannot_use_goes_to_the_best_of_another_chain(
    study: Any,
) -> None:
    add(study, 0.9, prune=20, pace=1)
    add(study, 0.8, prune=10, pace=1)  # the same chain
    add(study, 0.7, prune=3, finetune=1, pace=1)
    add(study, 0.6, prune=2, finetune=1, pace=1)
    # 85 seconds: 40 for the best, which may have no more epochs, and 45 are left.
    assert proposed(study, definition(), 100) == [
        {"chain": "prune quantize", "prune.epochs": 40},
        {"chain": "finetune prune", "prune.epochs": 33, "finetune.epochs": 8},
    ]


def test_a_best_at_the_most_epochs_leaves_its_time_to_another_chain(
    study: Any,
) -> None:
    add(study, 0.9, prune=40, pace=1)
    add(study, 0.7, prune=3, finetune=1, pace=1)
    longer = {"chain": "finetune prune", "prune.epochs": 40, "finetune.epochs": 8}
    assert proposed(study, definition(), 100) == [longer]


@pytest.mark.parametrize(
    ("left", "other"),
    [
        (301, {}),  # it is early
        (None, {"minutes": None, "trials": 3}),
        (300, {"objectives": ("top1", "file_bytes")}),
        (110, {}),  # 9 epochs instead of 10
    ],
)
def test_no_longer_training_is_proposed_outside_its_conditions(
    study: Any, left: float | None, other: dict[str, Any]
) -> None:
    if "objectives" in other:
        study = optuna.create_study(directions=["maximize", "minimize"])
    add(study, 0.7, prune=10, pace=10)
    assert proposed(study, definition(**other), left) == []
    # The first trials are not given up either.
    assert not is_proposed(study, definition(**other))


def test_a_teacher_path_with_spaces_does_not_prevent_longer_training(
    study: Any, tmp_path: Path
) -> None:
    """Words of a trial that were stored without quotation marks do not prevent it either."""
    (tmp_path / "my models").mkdir()
    (tmp_path / "my models" / "t.keras").touch()
    chain = "distill --teacher 'my models/t.keras' quantize"
    space = {"chains": [chain], "distill": {"epochs": {"low": 2, "high": 40, "log": True}}}
    facts = {"run": "r", "folder": "f", "top1": 0.7, "file_bytes": 1}
    words = "distill --student-width 0.5 --teacher my models/t.keras --epochs 10 quantize"
    study.add_trial(
        optuna.trial.create_trial(
            params={"chain": chain, "distill.epochs": 10},
            distributions={
                "chain": optuna.distributions.CategoricalDistribution([chain]),
                "distill.epochs": EPOCHS,
            },
            value=0.7,
            user_attrs={WORDS: words, RESULT: facts, PACE: 10},
        )
    )
    one = Definition(
        name="one", space=space, objectives=("top1",), limits={}, options={}, minutes=MINUTES
    )
    assert proposed(study, one, 300) == [{"chain": chain, "distill.epochs": 25}]


def test_longer_training_is_proposed_once_per_budget(study: Any) -> None:
    add(study, 0.7, prune=10, pace=1)
    assert len(proposed(study, definition(), 100)) == 1
    assert len(proposed(study, definition(), 90)) == 1
    assert len(proposed(study, definition(minutes=2 * MINUTES), 100)) == 2


def test_no_longer_training_is_proposed_for_a_best_without_a_pace(study: Any) -> None:
    add(study, 0.7, prune=10)
    trial = study.trials[0]
    unpaced = {k: v for k, v in trial.user_attrs.items() if k != PACE}
    study = optuna.create_study(direction="maximize")
    study.add_trial(
        optuna.trial.create_trial(
            params=trial.params, distributions=trial.distributions, value=0.7, user_attrs=unpaced
        )
    )
    assert proposed(study, definition(), 100) == []
