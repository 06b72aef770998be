"""The predicted bytes and cost of a pipeline's file, compared with the file that a run gives."""

from __future__ import annotations

import pytest

from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import stages_of
from compress.search import space
from compress.search.limits import Limits
from compress.search.prediction import Predictor, check_possible
from compress.stages.prune_filters import PruneFilters
from compress.tasks.view import TaskView
from support.small_convnet import model as small_convnet

SPACE = space.parsed(
    {
        "chains": ["distill quantize", "prune-filters qat"],
        "distill": {"student_width": {"low": 0.5, "high": 1.0}, "epochs": {"low": 1, "high": 9}},
        "prune-filters": {"macs": {"low": 0.1, "high": 0.5}},
    },
    "space",
)


def pipeline(words: str) -> Pipeline:
    return Pipeline(stages_of(words))


@pytest.fixture
def predict(toy_model: KerasModel, toy_view: TaskView) -> Predictor:
    return Predictor(toy_model, toy_view)


def test_bytes_and_macs_are_those_of_the_network_that_will_be_trained(predict: Predictor) -> None:
    whole = predict(pipeline("quantize"), [])
    half = predict(pipeline("distill --student-width 0.5 quantize"), [])
    assert whole.exact
    assert half.exact
    assert whole.amounts["flash"] > half.amounts["flash"]  # type: ignore[operator]
    # conv1 and conv2 at 12x12 and 6x6 with 4 filters, then 4 to 3 classes.
    assert half.amounts["macs"] == 144 * 27 * 4 + 36 * 36 * 4 + 12


def test_a_prediction_after_prune_filters_is_not_exact(predict: Predictor) -> None:
    assert not predict(pipeline("prune-filters quantize"), []).exact


def test_amounts_that_only_a_run_measures_are_not_predicted(predict: Predictor) -> None:
    found = predict(pipeline("prune-filters --arena 8000 quantize"), ["arena"])
    assert found.amounts == {}
    assert found.refusal(Limits(flash=1, arena=1, macs=1)) is None


def test_bytes_that_the_size_model_does_not_know_are_not_predicted(predict: Predictor) -> None:
    for words in ("quantize --scheme float16", "prune quantize encode"):
        assert predict(pipeline(words), []).amounts["flash"] is None


def test_the_arena_is_that_of_the_exported_untrained_network(
    predict: Predictor, toy_model: KerasModel, toy_view: TaskView
) -> None:
    pytest.importorskip("tflite_micro", reason="the arena is TFLM's")
    from compress.measurement.on_micro import on_micro

    file = pipeline("quantize").stages[0].apply(toy_model, toy_view, 0)
    predicted = predict(pipeline("quantize"), ["arena"]).amounts["arena"]
    assert predicted == on_micro(file)["arena_bytes"]  # type: ignore[arg-type]


def test_networks_of_the_same_size_are_outlined_once(
    predict: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []
    outline = PruneFilters.outline

    def counted(self: PruneFilters, model: KerasModel, task: TaskView) -> KerasModel:
        looked.append(self.macs or 0)
        return outline(self, model, task)

    monkeypatch.setattr(PruneFilters, "outline", counted)
    for stored in ("quantize", "qat --bits 4", "quantize --scheme int4"):
        predict(pipeline(f"prune-filters --macs 0.25 --epochs {len(stored)} {stored}"), [])
    predict(pipeline("prune-filters --macs 0.5 quantize"), [])
    assert looked == [0.25, 0.5]


def test_a_refusal_gives_the_amount_and_the_limit(predict: Predictor) -> None:
    found = predict(pipeline("quantize"), [])
    flash = found.amounts["flash"]
    assert flash is not None
    assert found.refusal(Limits(flash=flash)) is None
    assert found.refusal(Limits(flash=100)) == f"about {flash:,} bytes, over --max-flash 100"


def test_an_impossible_limit_is_refused_with_the_smallest_possible_one(predict: Predictor) -> None:
    smallest = predict(pipeline("distill --student-width 0.5 quantize"), [])
    least = smallest.amounts["flash"]
    with pytest.raises(ValueError, match="less than anything in this space takes") as raised:
        check_possible(SPACE, Limits(flash=100), predict)
    assert f"Give --max-flash {least:,} or more" in str(raised.value)
    check_possible(SPACE, Limits(flash=least), predict)
    with pytest.raises(ValueError, match="Give --max-macs 20,"):
        check_possible(SPACE, Limits(flash=least, macs=10), predict)


def test_a_chain_without_a_prediction_does_not_make_a_limit_possible(predict: Predictor) -> None:
    chains = ["quantize", "prune-filters --arena 8000 quantize"]
    with pytest.raises(ValueError, match="less than anything in this space takes"):
        check_possible(space.parsed({"chains": chains}, "space"), Limits(macs=10), predict)


def test_limits_are_not_checked_if_no_chain_has_a_prediction(predict: Predictor) -> None:
    only = space.parsed({"chains": ["prune-filters --arena 8000 quantize"]}, "space")
    check_possible(only, Limits(flash=100), predict)


def test_a_model_that_every_chain_refuses_is_refused_with_the_reason(toy_view: TaskView) -> None:
    only = space.parsed({"chains": ["distill quantize"]}, "space")
    other = Predictor(KerasModel(small_convnet()), toy_view)
    with pytest.raises(ValueError, match="distill: the student takes"):
        check_possible(only, Limits(flash=100), other)
