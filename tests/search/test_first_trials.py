"""The first trials of a search: short ones, and those that a person would try first."""

from __future__ import annotations

from typing import Any

import pytest

from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import stages_of
from compress.search.definition import Definition
from compress.search.first_trials import begin_with_the_shortest, begin_with_the_widest
from compress.search.prediction import Predictor
from compress.tasks.view import TaskView

optuna = pytest.importorskip("optuna", reason="extra search")

STUDENTS = {
    "student_width": {"low": 0.25, "high": 2.0, "step": 0.25},
    "epochs": {"low": 5, "high": 160, "log": True},
}


@pytest.fixture
def predict(toy_model: KerasModel, toy_view: TaskView) -> Predictor:
    return Predictor(toy_model, toy_view)


def definition(space: dict[str, Any], **limits: int) -> Definition:
    return Definition(name="one", space=space, objectives=("top1",), limits=limits, options={})


def proposed(study: Any) -> list[dict[str, Any]]:
    return [trial.system_attrs["fixed_params"] for trial in study.trials]


def test_a_search_by_the_clock_begins_with_the_fewest_epochs_of_each_chain() -> None:
    space = {
        "chains": ["finetune", "prune quantize"],
        "finetune": {"epochs": {"low": 3, "high": 9}},
        "prune": {"epochs": [4, 2], "sparsity": [0.5]},
    }
    study = optuna.create_study()
    begin_with_the_shortest(study, definition(space))
    assert proposed(study) == [
        {"chain": "finetune", "finetune.epochs": 3},
        {"chain": "prune quantize", "prune.epochs": 2},
    ]


def test_the_widest_student_within_the_limits_is_proposed_with_default_epochs(
    predict: Predictor,
) -> None:
    space = {
        "chains": ["distill quantize", "prune-filters quantize"],
        "distill": STUDENTS,
        "quantize": {"scheme": ["int8"]},
    }
    sizes = {
        width: predict(
            Pipeline(stages_of(f"distill --student-width {width} quantize")), ["flash"]
        ).amounts["flash"]
        for width in (0.75, 1.0)
    }
    assert sizes[0.75] is not None
    study = optuna.create_study()
    begin_with_the_widest(study, definition(space, flash=sizes[0.75]), predict)
    assert proposed(study) == [
        {
            "chain": "distill quantize",
            "distill.student_width": 0.75,
            "distill.epochs": 40,
            "quantize.scheme": "int8",
        }
    ]
    # Optuna takes it as it is: every value is in its range.
    trial = study.ask()
    assert trial.suggest_float("distill.student_width", 0.25, 2.0, step=0.25) == 0.75
    assert trial.suggest_int("distill.epochs", 5, 160, log=True) == 40


def test_the_widest_student_is_stored_in_the_fewest_bits_where_bytes_are_limited(
    predict: Predictor,
) -> None:
    space = {
        "chains": ["distill quantize", "distill qat"],
        "distill": STUDENTS,
        "quantize": {"scheme": ["int8", "int4"]},
        "qat": {"bits": ["8", "4"], "epochs": [3]},
    }
    words = "distill --student-width 1.5 quantize --scheme int4"
    size = predict(Pipeline(stages_of(words)), ["flash"]).amounts["flash"]
    assert size is not None
    study = optuna.create_study()
    begin_with_the_widest(study, definition(space, flash=size), predict)
    student = {"distill.student_width": 1.5, "distill.epochs": 40}
    assert proposed(study) == [
        {"chain": "distill quantize", **student, "quantize.scheme": "int4"},
        {"chain": "distill qat", **student, "qat.bits": "4", "qat.epochs": 3},
    ]
    # Where multiply-accumulates are limited, bits make no difference, and the first choice is taken.
    study = optuna.create_study()
    macs = predict(Pipeline(stages_of(words)), ["macs"]).amounts["macs"]
    begin_with_the_widest(study, definition(space, macs=macs or 0), predict)
    assert [each.get("quantize.scheme", each.get("qat.bits")) for each in proposed(study)] == [
        "int8",
        "8",
    ]


def test_a_chain_with_a_stage_twice_has_default_epochs_for_both(predict: Predictor) -> None:
    space = {"chains": ["distill distill quantize"], "distill": STUDENTS}
    study = optuna.create_study()
    begin_with_the_widest(study, definition(space, flash=10**6), predict)
    (values,) = proposed(study)
    assert (values["distill.epochs"], values["distill#2.epochs"]) == (40, 40)


def test_no_student_is_proposed_if_none_is_within_the_limits(predict: Predictor) -> None:
    study = optuna.create_study()
    space = {"chains": ["distill quantize"], "distill": STUDENTS}
    begin_with_the_widest(study, definition(space, flash=100), predict)
    assert proposed(study) == []
