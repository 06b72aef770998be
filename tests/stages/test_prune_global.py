"""Global pruning, renewed BatchNormalization statistics, and trainings of few steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compress.data.dataset import Split
from compress.keras_models.batchnorm import recalibrated
from compress.keras_models.model import KerasModel
from compress.pruning.magnitude import lamp_scores
from compress.stages.prune import Prune
from compress.tasks.view import TaskView
from compress.tflite.contents import matched_kernels
from conftest import Silent
from support.tiny_task import Tiny, drawn, prune, residual, with_holes, zeros

# These tests check which weights are pruned and what follows, not whether training helped.
pytestmark = pytest.mark.usefixtures("whatever_training_does")


def dense(model: KerasModel) -> dict[str, np.ndarray]:
    """The kernels that can be pruned."""
    return {name: w for name, w in model.kernels().items() if "depthwise" not in name}


def scaled(model: KerasModel, name: str, factor: float) -> KerasModel:
    copy = model.copy()
    copy.kernel_variables()[name].assign(model.kernels()[name] * np.float32(factor))
    return copy


@pytest.mark.parametrize("epochs", [0, 2])
def test_the_zeros_of_all_kernels_together_are_as_many_as_asked(epochs: int) -> None:
    incoming = residual()
    after = prune(incoming, epochs=epochs, learning_rate=0.02, scope="global", sparsity=0.6)
    counts = {name: zeros(w) for name, w in dense(after).items()}
    sizes = {name: w.size for name, w in dense(after).items()}
    assert sum(counts.values()) == round(0.6 * sum(sizes.values()))
    assert len({round(counts[n] / sizes[n], 2) for n in sizes}) > 1
    assert all(counts[name] < sizes[name] for name in sizes)
    # The incoming weights decide the share of each kernel, whatever training does to them.
    threshold = max(
        np.sort(lamp_scores(w), axis=None)[counts[name] - 1] for name, w in dense(incoming).items()
    )
    for name, w in dense(incoming).items():
        assert counts[name] == np.sum(lamp_scores(w) <= threshold), name
    assert not any(zeros(w) for name, w in after.kernels().items() if name not in sizes)
    stored = matched_kernels(after.to_tflite().graph, after.kernels())
    assert Prune(scope="global", sparsity=0.6).broken_promises(stored) == []
    assert len(Prune(scope="global", sparsity=0.61).broken_promises(stored)) == 1


def test_the_scale_of_a_kernel_does_not_matter() -> None:
    one = prune(residual(), epochs=0, scope="global")
    other = prune(scaled(residual(), "first", 100), epochs=0, scope="global")
    for name, w in one.kernels().items():
        np.testing.assert_array_equal(w == 0, other.kernels()[name] == 0, err_msg=name)


@pytest.mark.parametrize("epochs", [0, 1])
def test_zeros_of_the_incoming_model_are_counted_and_kept(epochs: int) -> None:
    holed = with_holes(residual(), 0.2, first=0.9)
    after = prune(holed, epochs=epochs, learning_rate=0.02, scope="global", sparsity=0.7)
    for name, w in holed.kernels().items():
        assert not after.kernels()[name][w == 0].any(), name
    total = sum(w.size for w in dense(after).values())
    assert sum(zeros(w) for w in dense(after).values()) == round(0.7 * total)


def test_skipped_layers_are_not_counted() -> None:
    after = prune(residual(), epochs=0, scope="global", skip=("scores",)).kernels()
    rest = {name: after[name] for name in ("first", "separable/pointwise_kernel")}
    assert zeros(after["scores"]) == 0
    assert sum(map(zeros, rest.values())) == round(0.5 * sum(w.size for w in rest.values()))


@pytest.mark.parametrize(("scope", "images"), [("layer", 16), ("global", 32), ("layer", 48)])
def test_a_training_of_one_to_three_steps_still_reaches_the_sparsity(
    scope: str, images: int
) -> None:
    data = drawn(0)
    few = Split(data.images[:images], data.labels[:images])
    view = TaskView(Tiny(), few, drawn(1), None, Silent(), deterministic=True)
    stage = Prune(epochs=1, learning_rate=0.02, scope=scope)
    after = stage.apply(residual(), view, seed=0)
    kernels = dense(after).values()
    assert sum(map(zeros, kernels)) == round(0.5 * sum(w.size for w in kernels))


@pytest.mark.parametrize("epochs", [0, 1])
def test_statistics_are_renewed_once_all_zeros_are_set(epochs: int) -> None:
    view = TaskView(Tiny(), drawn(0), drawn(1), None, Silent(), deterministic=True)
    stage = Prune(epochs=epochs, learning_rate=0.02)
    plain = stage.apply(residual(), view, seed=0)
    renewed = replace(stage, renew_statistics=True).apply(residual(), view, seed=0)
    expected = recalibrated(plain, drawn(0).images, 1 / 255)
    for name in plain.kernels():
        np.testing.assert_array_equal(plain.kernels()[name], renewed.kernels()[name])
    for one, other in zip(expected.keras.get_weights(), renewed.keras.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    old, new = (m.keras.get_layer("norm").get_weights()[2] for m in (plain, renewed))
    assert not np.allclose(old, new, rtol=0.01)


def test_renewed_statistics_do_not_depend_on_validation_images() -> None:
    view = TaskView(Tiny(), drawn(0), drawn(1), None, Silent(), deterministic=True)
    other = replace(view, validation=drawn(9))
    stage = Prune(epochs=0, renew_statistics=True)
    assert stage.apply(residual(), view, 0).digest == stage.apply(residual(), other, 0).digest
