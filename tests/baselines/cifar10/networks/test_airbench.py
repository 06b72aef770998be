"""The airbench network matches its source: layers, initial weights and trainable variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.cifar10.networks.airbench import Airbench, dirac_filters, whitening_kernel
from baselines.cifar10.recipes import AIRBENCH_RECIPES
from baselines.cifar10.task import Cifar10
from compress import backend
from compress.data.dataset import Dataset
from compress.data.splits import split_by_class
from compress.keras_models.model import KerasModel
from compress.measurement.layer_table import layer_table
from compress.model_files.load import load_model
from compress.runs.context import RunContext
from compress.runs.training_run import Training
from compress.stages.distill import Distill
from compress.training.param_groups import group_of
from conftest import Silent
from support.network_parts import weights_and_macs

RNG = np.random.default_rng(0)
# Neighboring pixels and colors are similar, as in photographs.
SMOOTH = np.cumsum(RNG.normal(0, 9, (30, 32, 32, 3)), axis=2) + RNG.normal(120, 20, (30, 1, 1, 1))
IMAGES = np.clip(SMOOTH, 0, 255).astype(np.uint8)
# Part -> weights of its kernels, MACs: worked out by hand from the shapes.
PARTS = {
    "whiten": (12 * 24, 31 * 31 * 12 * 24),
    "conv1": (9 * 24 * 64 + 9 * 64 * 64, 31 * 31 * 13_824 + 15 * 15 * 36_864),
    "conv2": (9 * 64 * 256 + 9 * 256 * 256, 15 * 15 * 147_456 + 7 * 7 * 589_824),
    "conv3": (2 * 9 * 256 * 256, (7 * 7 + 3 * 3) * 589_824),
    "scores": (2_560, 2_560),
}


@pytest.fixture(scope="module")
def model() -> Any:
    return Airbench().build(IMAGES)


@pytest.fixture(scope="module")
def small() -> Any:
    return Airbench(widths=(26, 28, 20)).build(IMAGES)


@pytest.mark.parametrize("part", PARTS)
def test_part_has_its_weights_and_macs(model: Any, part: str) -> None:
    assert weights_and_macs(model, part) == PARTS[part]


def test_the_network_has_1971640_weights_and_biases_and_118_million_macs(model: Any) -> None:
    shifts = 2 * (64 + 256 + 256)
    assert sum(weights for weights, _ in PARTS.values()) + 24 + shifts == 1_971_640
    statistics = 2 * shifts
    assert model.count_params() == 1_971_640 + statistics
    assert layer_table(KerasModel(model))[-1]["macs"] == 118_147_360


def test_layers_come_in_the_order_of_the_source(small: Any) -> None:
    names = ["image", "normalize", "whiten", "gelu0"]
    for g in "123":
        names += [f"conv{g}a", f"pool{g}", f"norm{g}a", f"gelu{g}a"]
        names += [f"conv{g}b", f"norm{g}b", f"gelu{g}b"]
    names += ["pool4", "flatten", "scores", "logits"]
    assert [layer.name for layer in small.layers] == names
    for before, layer in zip(small.layers, small.layers[1:], strict=False):
        assert layer.input is before.output


def test_normalization_has_no_scale_and_the_epsilon_of_the_source(small: Any) -> None:
    norms = [n for n in small.layers if type(n).__name__ == "BatchNormalization"]
    assert [(n.scale, n.center, n.epsilon, n.momentum) for n in norms] == 6 * [
        (False, True, 1e-12, 0.9)
    ]


def test_only_the_whitening_convolution_has_a_bias(small: Any) -> None:
    biased = [n.name for n in small.layers if getattr(n, "use_bias", False)]
    assert biased == ["whiten"]


def test_the_whitening_kernel_does_not_train_and_its_bias_does(small: Any) -> None:
    trained = [v.path for v in small.trainable_variables]
    assert "whiten/bias" in trained
    assert "whiten/kernel" not in trained
    assert len(trained) == 1 + 6 + 6 + 1


def test_a_training_step_leaves_the_whitening_kernel_as_it_was() -> None:
    tiny = Airbench(widths=(2, 2, 2)).build(IMAGES)
    kernel, bias = tiny.get_layer("whiten").get_weights()
    tiny.compile("sgd", "mse")
    tiny.train_on_batch(IMAGES[:4] / np.float32(255), np.ones((4, 10), np.float32))
    after, moved = tiny.get_layer("whiten").get_weights()
    assert np.array_equal(after, kernel)
    assert np.any(moved != bias)


def test_whitened_training_patches_are_uncorrelated_with_mean_square_near_one(
    small: Any,
) -> None:
    whiten = small.get_layer("whiten")
    whiten.bias.assign(np.zeros(24, np.float32))
    keras = backend.keras()
    values = np.array(keras.Model(small.input, whiten.output)(IMAGES / np.float32(255)))
    outputs = values.reshape(-1, 24)[:, :12].astype(np.float64)
    moments = outputs.T @ outputs / len(outputs)
    assert np.allclose(moments - np.diag(np.diag(moments)), 0, atol=1e-3)
    assert np.all(np.diag(moments) < 1)
    assert np.all(np.diag(moments) > 0.9)


def test_whitening_gives_a_mean_square_of_one_except_for_epsilon() -> None:
    images = RNG.normal(0.1, [0.5, 0.05], (8, 6, 6, 2))
    kernel = whitening_kernel(images, 2, epsilon=1e-3).astype(np.float64).reshape(8, 16)
    patches = np.stack(
        [
            images[n, y : y + 2, x : x + 2].ravel()
            for n in range(8)
            for y in range(5)
            for x in range(5)
        ]
    )
    moments = patches.T @ patches / len(patches)
    eigenvalues = np.linalg.eigvalsh(moments)[::-1]
    assert np.allclose(
        kernel[:, :8].T @ moments @ kernel[:, :8],
        np.diag(eigenvalues / (eigenvalues + 1e-3)),
        atol=1e-5,
    )
    assert np.array_equal(kernel[:, 8:], -kernel[:, :8])


def test_whitening_does_not_depend_on_how_images_are_grouped(monkeypatch: Any) -> None:
    images = RNG.random((7, 5, 5, 3))
    whole = whitening_kernel(images, 2, 5e-4)
    monkeypatch.setattr("baselines.cifar10.networks.airbench._AT_ONCE", 2)
    parts = whitening_kernel(images, 2, 5e-4)
    assert np.allclose(np.abs(whole), np.abs(parts), atol=1e-4)


def test_constant_images_give_a_finite_whitening_kernel() -> None:
    assert np.isfinite(whitening_kernel(np.zeros((2, 4, 4, 3), np.float32), 2, 5e-4)).all()


def test_the_whitening_kernel_uses_only_the_first_5000_images(monkeypatch: Any) -> None:
    monkeypatch.setattr("baselines.cifar10.networks.airbench.WHITENING_IMAGES", 10)
    options = Airbench(widths=(1, 1, 1))
    ten = options.build(IMAGES[:10]).get_layer("whiten").get_weights()[0]
    assert np.array_equal(options.build(IMAGES).get_layer("whiten").get_weights()[0], ten)


@pytest.mark.parametrize("name", ["conv1a", "conv1b", "conv2a", "conv3a"])
def test_first_filters_copy_their_inputs(small: Any, name: str) -> None:
    kernel = small.get_layer(name).get_weights()[0]
    inputs, filters = kernel.shape[2:]
    copied = min(inputs, filters)
    expected = np.zeros((3, 3, inputs, copied))
    expected[1, 1, range(copied), range(copied)] = 1
    assert np.array_equal(kernel[..., :copied], expected)
    rest = kernel[..., copied:]
    assert np.all(np.abs(rest) <= 1 / np.sqrt(9 * inputs))
    assert np.all(rest != 0)


def test_dirac_filters_does_not_change_its_argument() -> None:
    kernel = RNG.random((3, 3, 2, 3))
    before = kernel.copy()
    dirac_filters(kernel)
    assert np.array_equal(kernel, before)


def test_scores_are_divided_by_nine(small: Any) -> None:
    keras = backend.keras()
    both = keras.Model(small.input, [small.get_layer("scores").output, small.output])
    scores, logits = both(IMAGES[:2] / np.float32(255))
    assert np.allclose(np.array(scores) / 9, logits, rtol=1e-6)
    assert logits.shape == (2, 10)


def test_momentum_and_widths_out_of_range_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"airbench: option 'momentum': 1.0 is not in the range 0<=x<1"
    ):
        Airbench(momentum=1)
    with pytest.raises(ValueError, match=r"airbench: option 'widths': .* is not 3 whole numbers"):
        Airbench(widths=(1, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "images",
    [IMAGES[:0], IMAGES / np.float32(255), IMAGES[:, :16], IMAGES[0]],
    ids=["none", "floats", "half", "one image"],
)
def test_arrays_that_are_not_training_images_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"airbench: .* are no training images: give uint8"):
        Airbench(widths=(1, 1, 1)).build(images)


TEACHER = AIRBENCH_RECIPES["teacher"]


def test_learning_rates_and_weight_decay_match_the_source() -> None:
    # As the source computes them, for a loss summed over 1,024 examples.
    kilostep_scale = 1024 * (1 + 1 / (1 - 0.85))
    rate, decay = 11.5 / kilostep_scale, 0.0153 * 1024 / kilostep_scale
    _, shift, others = TEACHER.param_groups
    assert TEACHER.learning_rate == pytest.approx(1024 * rate) == pytest.approx(1.5)
    assert others.l2 == pytest.approx(decay / rate / 1024) == pytest.approx(1.33e-3, rel=1e-3)
    assert shift.learning_rate * TEACHER.learning_rate == pytest.approx(96)
    assert shift.l2 == pytest.approx(decay / (64 * rate) / 1024) == pytest.approx(2.1e-5, rel=0.02)


def test_each_variable_is_in_its_parameter_group(small: Any) -> None:
    whiten, shift, others = TEACHER.param_groups
    groups = {v.path: group_of(v.path, TEACHER.param_groups) for v in small.trainable_variables}
    shifts = [path for path, group in groups.items() if group is shift]
    assert shifts == [f"norm{g}{half}/beta" for g in "123" for half in "ab"]
    assert [path for path, group in groups.items() if group is whiten] == ["whiten/bias"]
    assert sum(group is others for group in groups.values()) == 7


def test_the_network_built_without_images_has_the_same_architecture() -> None:
    options = Airbench(widths=(2, 2, 2))
    with_images, without = options.build(IMAGES), options.build()
    assert [v.shape for v in without.weights] == [v.shape for v in with_images.weights]


class Few(Cifar10):
    """CIFAR-10 with few images."""

    def load(self, path: Any, note: Any) -> Dataset:
        train, validation = split_by_class(IMAGES, np.arange(30) % 10, 0.3)
        return Dataset("few", tuple("abcdefghij"), train, validation, lambda: validation)

    def sources(self, path: Any) -> Any:
        return None


def test_training_keeps_the_whitening_kernel_and_the_saved_file_can_teach(
    tmp_path: Path, silent: Silent
) -> None:
    task = Few()
    data = task.load(None, print)
    context = RunContext(
        task=task, data=data, seed=0, out=tmp_path / "runs", results=tmp_path / "rows.jsonl",
        progress=silent, command="compress train ...",
    )  # fmt: skip
    network = Airbench(widths=(2, 3, 4))
    folder, kept = Training(recipe="teacher", network=network, epochs=2).run(context)
    trained = load_model(folder / "model.keras")
    assert isinstance(trained, KerasModel)
    kernel, bias = trained.keras.get_layer("whiten").get_weights()
    first = network.build(data.train.images).get_layer("whiten").get_weights()[0]
    assert np.array_equal(kernel, first)
    assert np.any(bias != 0)
    assert kept.row.file_bytes == (folder / "model.tflite").stat().st_size
    incoming = KerasModel(task.build(width=0.1))
    distill = Distill(student_width=0.1, teacher=(str(folder / "model.keras"),), epochs=1)
    assert distill.check(incoming) == []
    assert distill.apply(incoming, context.view(None), seed=0).digest != incoming.digest
