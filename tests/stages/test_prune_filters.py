"""prune-filters meets its target, trains the smaller model, keeps zeros and resumes a killed run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import backend, registry
from compress.data.dataset import Split
from compress.keras_models.model import KerasModel
from compress.measurement.layer_table import layer_table
from compress.pruning.dependency_graph import build_dependency_graph
from compress.pruning.surgery import amount, filter_terms
from compress.stages.prune_filters import PruneFilters
from compress.tasks.view import TaskView
from conftest import Silent
from support import filter_models as zoo
from support.tiny_task import Tiny, drawn, with_holes

CRITERIA = ("taylor", "l1", "l2", "batchnorm")


def pruned(
    model: KerasModel, folder: Path | None = None, progress: Any = None, **options: Any
) -> KerasModel:
    view = TaskView(Tiny(), drawn(0), drawn(1), folder, progress or Silent(), deterministic=True)
    return PruneFilters(**({"epochs": 0} | options)).apply(model, view, seed=1)


def macs(model: KerasModel) -> int:
    return int(layer_table(model)[-1]["macs"])


def filters(model: KerasModel) -> int:
    groups = build_dependency_graph(model.keras)
    return amount(filter_terms(groups), np.ones(groups.units, bool))


def size(model: KerasModel, by: str) -> int:
    return {"macs": macs, "params": lambda m: m.params, "filters": filters}[by](model)


def wide(k: Any, x: Any) -> Any:
    x = k.ReLU()(k.BatchNormalization(name="norm")(zoo.conv(k, 24, "first")(x)))
    x = k.MaxPooling2D()(k.ReLU()(zoo.conv(k, 20, "second")(x)))
    return k.BatchNormalization()(zoo.conv(k, 28, "third")(x))


@pytest.mark.parametrize("by", ["macs", "params", "filters"])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("share", [0.25, 0.6])
def test_the_target_is_met_within_one_filter(by: str, scope: str, share: float) -> None:
    model = zoo.functional(wide)
    options = {by: share, "scope": scope, "criterion": "l2", "round_to": 1}
    whole, left = size(model, by), size(pruned(model, **options), by)
    # The most that one filter can be worth: what its layer and the next hold, divided by the filters of its layer.
    worth = {"macs": 64 * 9 * (3 + 20), "params": 9 * (20 + 28) + 5, "filters": 1}[by]
    assert (1 - share) * whole - worth < left <= (1 - share) * whole


def test_a_latency_target_is_reached_with_the_fewest_macs_removed() -> None:
    model = zoo.functional(wide)
    view = TaskView(Tiny(), drawn(0), drawn(1), None, Silent(), deterministic=True)
    asked, seen = 0.55, list[float]()

    def share(smaller: KerasModel) -> float:
        seen.append(macs(smaller) / macs(model))
        return seen[-1]

    stage = PruneFilters(latency=asked, criterion="l2", round_to=1, epochs=0)
    found = stage.reaching(model, view, 1, share)
    assert found == PruneFilters(macs=found.macs, criterion="l2", round_to=1, epochs=0)
    reached = found.apply(model, view, seed=1)
    assert share(reached) <= asked
    less = dataclasses.replace(found, macs=found.macs - 0.001).apply(model, view, seed=1)
    assert share(less) > asked
    assert len(seen) < 20
    with pytest.raises(
        ValueError, match=r"prune-filters: the latency of this model is 0\.\d+ with all remov"
    ):
        PruneFilters(latency=0.001, criterion="l2").reaching(model, view, 1, share)
    with pytest.raises(ValueError, match="option 'latency': a run measures it"):
        stage.apply(model, view, seed=1)


def test_the_default_target_removes_half_of_the_macs() -> None:
    assert PruneFilters().macs == 0.5
    assert PruneFilters().argv() == ["prune-filters", "--macs", "0.5"]
    assert PruneFilters(params=0.3).argv() == ["prune-filters", "--params", "0.3"]
    assert PruneFilters(params=0.3).macs is None
    assert registry.build({"stage": "prune-filters", "filters": 0.3}) == PruneFilters(filters=0.3)


@pytest.mark.parametrize("criterion", ["taylor", "l2"])
def test_too_few_finite_scores_for_the_target_are_an_error(criterion: str) -> None:
    model = zoo.functional(wide)
    for variable in model.kernel_variables().values():
        variable.assign(variable * np.nan)
    with pytest.raises(ValueError, match="too few filters have a score that is a number"):
        pruned(model, macs=0.5, criterion=criterion)


@pytest.mark.parametrize("options", [{}, {"params": 0.5}, {"filters": 0.5}, {"flash": 1000}])
def test_a_model_without_kernels_is_refused(options: dict[str, Any]) -> None:
    keras = backend.keras()
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(
        ValueError, match=r"^prune-filters: at most 0.0% of the .* of this model can"
    ):
        PruneFilters(**options).check(KerasModel(model))


def test_two_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="option 'filters' does not go with 'macs': give one"):
        PruneFilters(macs=0.5, filters=0.5)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_least_important_filters_are_removed(criterion: str) -> None:
    model = zoo.functional(wide)
    for variable in model.kernel_variables().values():
        variable.assign(np.array(variable) * 0.1)  # small logits, so that the loss has a gradient
    norm = model.keras.get_layer("norm")
    gamma, beta, *rest = norm.get_weights()
    beta = np.abs(beta) + 1  # no other filter is silent after the ReLU
    weak = [2, 3, 11, 17]
    gamma[weak] *= 1e-4
    beta[weak] *= 1e-4
    norm.set_weights([gamma, beta, *rest])
    kernel, bias = model.keras.get_layer("first").get_weights()
    kernel[..., weak] *= 1e-4
    model.keras.get_layer("first").set_weights([kernel, bias])
    stage = {"filters": 0.05, "criterion": criterion, "skip": ("second", "third"), "round_to": 4}
    after = pruned(model, **stage).kernels()
    np.testing.assert_array_equal(after["first"], np.delete(kernel, weak, axis=-1))
    np.testing.assert_array_equal(
        after["second"], np.delete(model.kernels()["second"], weak, axis=2)
    )


def test_kept_filters_are_a_multiple_of_round_to_or_all() -> None:
    for round_to in (3, 8):
        after = pruned(zoo.functional(wide), criterion="l1", round_to=round_to).kernels()
        for name, n in (("first", 24), ("second", 20), ("third", 28)):
            assert after[name].shape[-1] % round_to == 0 or after[name].shape[-1] == n


def test_skipped_layers_keep_all_filters() -> None:
    after = pruned(zoo.functional(wide), criterion="l2", skip=("second",), scope="layer").kernels()
    assert after["second"].shape[-1] == 20
    assert after["first"].shape[-1] < 24


def test_incoming_model_is_unchanged_and_layers_keep_names() -> None:
    model = zoo.functional(wide)
    after = pruned(model, epochs=1)
    for old, new in zip(
        zoo.functional(wide).keras.get_weights(), model.keras.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(old, new)
    assert list(after.kernels()) == list(model.kernels())


def test_kept_filters_are_trained_and_zeros_stay_zero() -> None:
    holed = with_holes(zoo.functional(wide), 0.4)
    bare = pruned(holed, criterion="l2").kernels()
    trained = pruned(holed, criterion="l2", epochs=1, learning_rate=0.01).kernels()
    for name, w in bare.items():
        assert trained[name].shape == w.shape
        assert not trained[name][w == 0].any(), name
        assert (w == 0).any(), name
        assert np.mean(trained[name][w != 0] == w[w != 0]) < 0.2, name


@pytest.mark.parametrize("criterion", [pytest.param("l2", marks=pytest.mark.slow), "taylor"])
def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path, criterion: str) -> None:
    class Killed(Silent):
        def epoch(self, row: dict[str, float]) -> None:
            raise KeyboardInterrupt

    words = {"criterion": criterion, "epochs": 2, "learning_rate": 0.01}
    whole = pruned(zoo.functional(wide), **words)
    with pytest.raises(KeyboardInterrupt):
        pruned(zoo.functional(wide), tmp_path, Killed(), **words)
    goes_on = Silent()
    resumed = pruned(zoo.functional(wide), tmp_path, goes_on, **words)
    assert goes_on.done == 1
    assert len(goes_on.rows) == 1
    for one, other in zip(whole.keras.get_weights(), resumed.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_that_keep_all_filters_are_reported() -> None:
    def body(k: Any, x: Any) -> Any:
        x = zoo.conv(k, 16, "free")(x)
        x = zoo.conv(k, 8, "before")(x)
        return zoo.conv(k, 16, "after")(k.Permute((2, 1, 3), name="turned")(x))

    model = zoo.functional(body)
    (finding,) = PruneFilters(macs=0.2).check(model)
    sentence = "prune-filters: before stays whole: 'turned' (Permute) is not followed."
    assert finding.sentence("prune-filters") == sentence
    assert finding.layers == ("before", "turned")


def test_the_batchnorm_criterion_leaves_layers_without_batchnorm_whole() -> None:
    model = zoo.functional(wide)
    stage = PruneFilters(filters=0.2, criterion="batchnorm", epochs=0)
    (finding,) = stage.check(model)
    assert finding.layers == ("second",)
    assert finding.clause == "second stays whole: no BatchNormalization scales its filters"
    assert pruned(model, filters=0.2, criterion="batchnorm").kernels()["second"].shape[-1] == 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"macs": 0.99}, r"at most 85\.0% of the multiply-accumulates of this model can go"),
        ({"round_to": 64}, r"at most 0\.0% of the multiply-accumulates .* can go: ask for less"),
        ({"skip": ("frist",)}, "no layer 'frist' with filters to skip; did you mean 'first'"),
        ({"skip": ("norm", "x")}, "no layer 'norm' with filters to skip"),
        ({"skip": ("first", "second", "third")}, r"at most 0\.0%"),
    ],
)
def test_unreachable_targets_and_unknown_layers_are_refused_before_any_work(
    options: dict[str, Any], words: str
) -> None:
    stage = PruneFilters(**options)
    with pytest.raises(ValueError, match=words):
        stage.check(zoo.functional(wide))


def test_the_refusal_of_a_target_names_the_layers_that_keep_all_filters() -> None:
    k = backend.keras().layers
    image = k.Input((6, 6, 3))
    x = k.LayerNormalization(name="odd")(k.Conv2D(8, 3, name="conv")(image))
    x = k.Dense(3)(k.GlobalAveragePooling2D()(x))
    words = r"at most 0\.0% of .* can go, conv stays whole: 'odd' \(LayerNormalization\) is not followed: ask"
    with pytest.raises(ValueError, match=words):
        PruneFilters().check(KerasModel(backend.keras().Model(image, x)))


def test_only_the_taylor_criterion_needs_a_single_output() -> None:
    model = zoo.model_of(zoo.heads)
    with pytest.raises(ValueError, match="criterion taylor needs a model with one output"):
        PruneFilters().check(model)
    after = pruned(model, criterion="l2")
    assert after.kernels()["first"].shape[-1] < 6
    assert [tuple(o.shape) for o in after.keras.outputs] == [
        tuple(o.shape) for o in model.keras.outputs
    ]


def test_the_exported_file_is_smaller_too() -> None:
    model = zoo.functional(wide)
    after = pruned(model, criterion="l2")
    before_file, after_file = model.to_tflite(), after.to_tflite()
    assert len(after_file.content) < len(before_file.content)
    assert layer_table(after_file)[-1]["macs"] == macs(after)


def test_alpha_one_ignores_the_labels() -> None:
    model = zoo.functional(wide)
    right, swapped = drawn(0), Split(drawn(0).images, (drawn(0).labels + 1) % 3)

    def kernel(labelled: Split, alpha: float) -> np.ndarray:
        view = TaskView(Tiny(), labelled, drawn(1), None, Silent(), deterministic=True)
        stage = PruneFilters(criterion="l2", epochs=1, alpha=alpha, learning_rate=0.01)
        return stage.apply(model, view, seed=1).kernels()["first"]

    np.testing.assert_array_equal(kernel(right, 1.0), kernel(swapped, 1.0))
    assert not np.array_equal(kernel(right, 0.5), kernel(swapped, 0.5))
    assert not np.array_equal(kernel(right, 1.0), kernel(right, 0.5))
