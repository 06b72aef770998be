"""How long a trial would take, by the pace of those before it."""

from __future__ import annotations

from typing import Any

import pytest

from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import stages_of
from compress.runs.context import RunContext
from compress.search.pace import TRAINING, seconds_of, work_of
from compress.search.prediction import Predictor

optuna = pytest.importorskip("optuna", reason="extra search")

CHAINS = optuna.distributions.CategoricalDistribution(["one", "two"])


def asked(chain: str, *before: dict[str, Any]) -> Any:
    """A trial of a chain after others, of which `before` has the chain and the attributes."""
    study = optuna.create_study()
    for attributes in before:
        params = {"chain": attributes.pop("chain")}
        study.add_trial(
            optuna.create_trial(
                value=0.0, params=params, distributions={"chain": CHAINS}, user_attrs=attributes
            )
        )
    study.enqueue_trial({"chain": chain})
    trial = study.ask()
    trial.suggest_categorical("chain", CHAINS.choices)
    return trial


def test_seconds_scale_the_pace_of_the_same_chain_by_the_work() -> None:
    before = (
        {"chain": "one", "pace": 10.0, "work": 100},
        {"chain": "one", "pace": 40.0, "work": 400},
        {"chain": "two", "pace": 7.0, "work": 1},
    )
    assert seconds_of(asked("one", *map(dict, before)), 5, 200) == 5 * 20
    assert seconds_of(asked("two", *map(dict, before)), 5, None) == 5 * 7


def test_seconds_use_the_pace_of_any_chain_if_its_own_was_not_tried() -> None:
    assert seconds_of(asked("one", {"chain": "two", "pace": 3.0, "work": 6}), 2, 12) == 12
    assert seconds_of(asked("one"), 2, 12) is None
    assert seconds_of(asked("one", {"chain": "two"}), 2, 12) is None


def test_work_counts_the_trained_network_and_its_teacher(
    toy_model: KerasModel, context: RunContext
) -> None:
    predict = Predictor(toy_model, context.view(None))
    macs = predict(Pipeline(()), []).amounts["macs"]
    assert macs
    assert work_of(Pipeline(stages_of("finetune")), predict) == TRAINING * macs
    student = predict(Pipeline(stages_of("distill --student-width 0.5")), []).amounts["macs"]
    assert student
    assert student < macs
    taught = Pipeline(stages_of("distill --student-width 0.5 quantize"))
    assert work_of(taught, predict) == TRAINING * student + macs
    assert work_of(Pipeline(stages_of("prune-filters --flash 100")), predict) is None
