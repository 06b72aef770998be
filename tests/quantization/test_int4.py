"""4-bit kernels: stored in 4 bits with the chosen codes and computed in integers, except in kept layers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.measurement import measure
from compress.measurement.layer_table import layer_table
from compress.micro import interpreter
from compress.quantization import int4, int4_export
from compress.quantization.gptq import QMAX, mse_scales, rounded
from compress.stages.prune import Prune
from compress.stages.quantize import Quantize
from compress.tasks.view import TaskView
from compress.tflite import contents
from compress.tflite.convert import converted
from compress.tflite.flatbuffer import read
from compress.tflite.ledger import gzip_bytes
from compress.tflite.model import TFLiteModel

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
SEEN = IMAGES * np.float32(1 / 255)


def network(*layers: Any) -> KerasModel:
    """A Sequential of these layers on 8x8x3 images, with random weights."""
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    return KerasModel(keras.Sequential([keras.Input((8, 8, 3)), *layers]))


def quick(**options: Any) -> Quantize:
    return Quantize(scheme="int4", calibration=40, **options)


def layer(kind: str, *options: Any, **more: Any) -> Any:
    return getattr(backend.keras().layers, kind)(*options, **more)


@pytest.fixture(scope="module")
def mixed() -> KerasModel:
    """All kinds of layers that have 4-bit kernels, a depthwise kernel, and a convolution called twice."""
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layer("Conv2D", 6, 3, padding="same", name="first")(image)
    x = layer("ReLU")(layer("BatchNormalization", name="norm")(x))
    shared = layer("Conv2D", 6, 3, padding="same", name="shared")
    x = layer("Add")([x, shared(shared(x))])
    x = layer("SeparableConv2D", 8, 3, name="separable")(x)
    x = layer("Dense", 4, name="scores")(layer("GlobalAveragePooling2D")(x))
    model = KerasModel(keras.Model(image, x))
    gamma = np.linspace(0.5, 2, 6)
    model.keras.get_layer("norm").set_weights([gamma, gamma - 1, gamma / 5, gamma])
    return model


NAMES = ("first", "separable/pointwise_kernel", "scores")


@pytest.fixture(scope="module")
def fake_quantized(mixed: KerasModel) -> KerasModel:
    return int4.fake_quantized(mixed, NAMES, SEEN)


@pytest.fixture(scope="module")
def small(mixed: KerasModel) -> bytes:
    """The file of `mixed` with 4 bits for NAMES."""
    return int4.export(mixed, NAMES, SEEN).content


def test_named_kernels_are_stored_in_4_bits_and_all_others_in_8(small: bytes) -> None:
    assert [(k.operator, k.dtype) for k in contents.kernels(small)] == [
        ("CONV_2D", "int4"),
        ("CONV_2D", "int8"),
        ("CONV_2D", "int8"),
        ("DEPTHWISE_CONV_2D", "int8"),
        ("CONV_2D", "int4"),
        ("FULLY_CONNECTED", "int4"),
    ]


def test_the_file_has_the_codes_of_our_grid(
    mixed: KerasModel, fake_quantized: KerasModel, small: bytes
) -> None:
    stored = contents.matched_kernels(read(small), fake_quantized.kernels())
    # This includes kernels into which a BatchNormalization was folded, channel by channel.
    for name in NAMES:
        codes = np.rint(fake_quantized.kernels()[name] / mse_scales(mixed.kernels()[name]))
        np.testing.assert_array_equal(stored[name], codes, err_msg=name)
        assert 4 <= np.abs(codes).max() <= QMAX


def test_weights_of_a_cluster_stay_equal_within_a_channel(mixed: KerasModel) -> None:
    model = mixed.copy()
    values = np.array([-0.31, -0.1, 0.0, 0.12, 0.3], np.float32)
    drawn = np.random.default_rng(1).choice(values, model.kernels()["first"].shape)
    model.kernel_variables()["first"].assign(drawn)
    found = int4.fake_quantized(model, ["first"], SEEN).kernels()["first"]
    for before, after in zip(np.moveaxis(drawn, -1, 0), np.moveaxis(found, -1, 0), strict=True):
        for value in values:
            assert len(set(after[before == value])) <= 1


def test_scores_of_the_file_are_close_to_those_of_the_rounded_model(
    fake_quantized: KerasModel, small: bytes
) -> None:
    exact = fake_quantized.keras(SEEN, training=False).numpy()
    found = measure.predict(TFLiteModel(small), IMAGES, 1 / 255)
    assert np.abs(found - exact).max() < 0.05 * np.ptp(exact)
    assert np.abs(found - exact).mean() < 0.02 * np.ptp(exact)


def test_a_channel_that_does_not_use_the_largest_code_keeps_its_codes() -> None:
    model = network(layer("Conv2D", 4, 3, name="conv"), layer("GlobalAveragePooling2D"))
    codes = np.random.default_rng(0).integers(-5, 6, (3, 3, 3, 4))
    model.kernel_variables()["conv"].assign(codes * np.array([0.01, 0.02, 0.03, 0.04]))
    content = converted(model.keras, "float32")
    (kernel,) = contents.kernels(content)
    file = int4_export.quantized(content, {kernel.name: np.full(4, 7 / 5)}, SEEN)
    (stored,) = contents.kernels(file)
    np.testing.assert_array_equal(stored.values, codes)


def test_only_named_kernels_are_rounded(mixed: KerasModel, fake_quantized: KerasModel) -> None:
    for name, w in mixed.kernels().items():
        steps = fake_quantized.kernels()[name] / mse_scales(w)
        assert np.allclose(steps, np.rint(steps), atol=1e-4) == (name in NAMES), name


def test_rounding_with_correlated_inputs_has_less_error_than_rounding_to_nearest(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    images = toy_view.train.images[:100] / np.float32(255)
    names = list(toy_model.kernels())
    nearest = toy_model.copy()
    for name, variable in nearest.kernel_variables().items():
        variable.assign(rounded(toy_model.kernels()[name]))
    seen = toy_view.validation.images / np.float32(255)
    exact, plain, minded = (
        m.keras(seen, training=False).numpy()
        for m in (toy_model, nearest, int4.fake_quantized(toy_model, names, images))
    )
    assert np.square(minded - exact).mean() < 0.7 * np.square(plain - exact).mean()


def test_a_4_bit_file_is_smaller_than_an_8_bit_file_and_inspect_shows_int4(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    small = quick().apply(toy_model, toy_view, seed=0)
    weights = sum(w.size for w in toy_model.kernels().values())
    types = contents.weight_types(contents.stored_tensors(small.content))
    assert types["int4"] == weights
    assert set(types) == {"int4", "int32"}
    assert [row["dtype"] for row in layer_table(small) if row["parameters"]][:-1] == ["int4"] * len(
        toy_model.kernels()
    )
    large = Quantize(calibration=40).apply(toy_model, toy_view, seed=0)
    assert gzip_bytes(small.content) < gzip_bytes(large.content)
    kernel_bytes = {
        model: sum(len(s.tensor.data) for s in contents.stored_tensors(model.content) if s.role == "kernel")
        for model in (small, large)
    }  # fmt: skip
    assert kernel_bytes[small] * 2 == pytest.approx(kernel_bytes[large], abs=len(types))


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    model = network(layer("Conv2D", 4, 3, name="conv"), layer("GlobalAveragePooling2D"))
    kernel, _ = model.keras.get_layer("conv").get_weights()
    kernel[..., 1] = 0
    model.keras.get_layer("conv").set_weights([kernel, np.array([0, 3, 0, 0], np.float32)])
    scores = measure.predict(int4.export(model, ["conv"], SEEN), IMAGES, 1 / 255)
    np.testing.assert_allclose(scores[:, 1], 3, atol=0.05)


def test_a_kernel_of_zeros_is_stored() -> None:
    model = network(layer("Conv2D", 4, 3, name="conv"), layer("GlobalAveragePooling2D"))
    model.kernel_variables()["conv"].assign(np.zeros((3, 3, 3, 4), np.float32))
    (kernel,) = contents.kernels(int4.export(model, ["conv"], SEEN).content)
    assert kernel.dtype == "int4"
    assert not kernel.values.any()


def test_zeros_of_a_pruned_model_are_zeros_in_the_4_bit_file(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    pruned = Prune(sparsity=0.6, epochs=0).apply(toy_model, toy_view, seed=0)
    content = quick().apply(pruned, toy_view, seed=0).content
    for name, w in contents.matched_kernels(read(content), pruned.kernels()).items():
        assert not w[pruned.kernels()[name] == 0].any(), name


def test_output_mse_is_zero_on_the_grid_and_grows_with_the_next_kernel() -> None:
    model = network(
        layer("Conv2D", 4, 3, name="conv"),
        layer("GlobalAveragePooling2D"),
        layer("Dense", 5, name="scores"),
    )
    variables = model.kernel_variables()
    variables["scores"].assign(rounded(model.kernels()["scores"]))
    before = [w.copy() for w in model.keras.get_weights()]
    mse = int4.output_mse(model, ["conv", "scores"], SEEN)
    assert mse["scores"] < 1e-8 * mse["conv"]
    for old, new in zip(before, model.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    variables["scores"].assign(10 * model.kernels()["scores"])
    louder = int4.output_mse(model, ["conv"], SEEN)
    np.testing.assert_allclose(louder["conv"], 100 * mse["conv"], rtol=1e-3)


def sensitive(toy_model: KerasModel, name: str) -> KerasModel:
    """The toy model with every other kernel already rounded, so that rounding changes only this one."""
    model = toy_model.copy()
    for other, variable in model.kernel_variables().items():
        if other != name:
            variable.assign(rounded(toy_model.kernels()[other]))
    return model


@pytest.mark.parametrize("place", [0, 1])
def test_int8_share_goes_to_the_most_sensitive_layer(
    toy_model: KerasModel, toy_view: TaskView, place: int
) -> None:
    sizes = {name: w.size for name, w in toy_model.kernels().items()}
    name = list(sizes)[place]
    model = sensitive(toy_model, name)
    total = sum(sizes.values())
    stage = quick(int8_share=(sizes[name] + 0.5) / total)
    content = stage.apply(model, toy_view, seed=0).content
    stored = contents.kernels(content)
    types = dict(zip(sizes, [s.dtype for s in stored], strict=True))
    assert types[name] == "int8"
    counted = contents.weight_types(contents.stored_tensors(content))
    assert counted["int8"] <= stage.int8_share * total
    assert counted["int8"] + counted["int4"] == total
    kernels = contents.matched_kernels(read(content), model.kernels())
    assert stage.broken_promises(kernels) == []
    assert "need more than 4 bits" in Quantize(scheme="int4").broken_promises(kernels)[0]


def test_kept_layers_are_stored_in_8_bits(toy_model: KerasModel, toy_view: TaskView) -> None:
    stage = quick(keep=("conv1",))
    content = stage.apply(toy_model, toy_view, seed=0).content
    assert [s.dtype for s in contents.kernels(content)][:2] == ["int8", "int4"]
    kernels = contents.matched_kernels(read(content), toy_model.kernels())
    assert stage.broken_promises(kernels) == []


def test_target_micro_keeps_dense_layers_in_8_bits_and_the_file_runs_on_tflm(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    everywhere = quick().apply(toy_model, toy_view, seed=0).content
    with pytest.raises(ValueError, match="quantize --scheme int4 --target micro"):
        interpreter.arena(everywhere)
    stage = quick(target="micro")
    content = stage.apply(toy_model, toy_view, seed=0).content
    stored = [s for s in contents.stored_in(read(content)) if s.role == "kernel"]
    types = {s.operator.name: s.tensor.dtype for s in stored}
    assert types == {"CONV_2D": "int4", "FULLY_CONNECTED": "int8"}
    assert interpreter.arena(content).total > 0
    kernels = contents.matched_kernels(read(content), toy_model.kernels())
    assert stage.broken_promises(kernels) == []
    found = [finding.clause for finding in stage.check(toy_model)]
    why = "TFLM has no 4-bit kernels for Dense layers"
    assert found == [f"logits is stored in 8 bits: {why}"]


def test_an_8_bit_file_breaks_the_promise_of_scheme_int4(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    content = Quantize(calibration=40).apply(toy_model, toy_view, seed=0).content
    kernels = contents.matched_kernels(read(content), toy_model.kernels())
    (sentence,) = Quantize(scheme="int4").broken_promises(kernels)
    total = sum(w.size for w in kernels.values())
    assert sentence.startswith("conv1, ")
    assert sentence.endswith(
        f"with {total} of {total} weights need more than 4 bits, expected at most 0 of them"
    )


def test_an_operator_left_in_float32_is_an_error() -> None:
    model = network(
        layer("Conv2D", 4, 3, name="conv"),
        layer("LeakyReLU", 0.1),
        layer("GlobalAveragePooling2D"),
    )
    with pytest.raises(ValueError, match="would compute LEAKY_RELU in float32"):
        int4.export(model, ["conv"], SEEN)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"keep": ("conv1",)}, "option 'keep' goes with scheme int4, not with int8; leave it out"),
        ({"int8_share": 0.1, "scheme": "dynamic"}, "option 'int8_share' goes with scheme int4"),
        ({"target": "micro"}, "option 'target' goes with scheme int4, not with int8; leave it out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"quantize: {sentence}"):
        Quantize(**options)


def test_kernels_that_cannot_be_stored_in_4_bits_are_refused_or_noted(mixed: KerasModel) -> None:
    stage = Quantize(scheme="int4")
    (finding,) = stage.check(mixed)
    assert finding.layers == ("separable",)
    assert finding.clause.startswith("separable/depthwise_kernel is stored in 8 bits")
    assert Quantize().check(mixed) == []
    with pytest.raises(ValueError, match="no layer 'frist' with a kernel to keep; did you mean"):
        Quantize(scheme="int4", keep=("frist",)).check(mixed)
    with pytest.raises(ValueError, match=re.escape("choose of ['first', 'scores', 'separable',")):
        Quantize(scheme="int4", keep=("norm",)).check(mixed)
    grouped = network(
        layer("Conv2D", 6, 3, groups=3, name="grouped"),
        layer("Conv2DTranspose", 4, 3, name="up"),
        layer("Conv2D", 6, 3, name="plain"),
    )
    with pytest.raises(ValueError, match=r"'up' .* cannot be .* --keep grouped --keep up,"):
        stage.check(grouped)
    with pytest.raises(ValueError, match=r"'up' \(Conv2DTranspose\) cannot be"):
        Quantize(scheme="int4", keep=("grouped",)).check(grouped)
    Quantize(scheme="int4", keep=("grouped", "up")).check(grouped)
    with pytest.raises(ValueError, match="no kernel is left to store in 4 bits"):
        Quantize(scheme="int4", keep=("grouped", "up", "plain")).check(grouped)


def test_kept_layers_without_4_bit_form_are_stored_in_8_bits() -> None:
    model = network(
        layer("Conv2D", 6, 3, groups=3, name="grouped"),
        layer("Conv2DTranspose", 4, 3, name="up"),
        layer("Conv2D", 6, 3, name="plain"),
        layer("GlobalAveragePooling2D"),
    )
    content = int4.export(model, ["plain"], SEEN).content
    assert [k.dtype for k in contents.kernels(content)] == ["int8", "int8", "int4"]


def test_a_missing_library_is_reported_before_any_work(
    mixed: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=re.escape("pip install 'compress-cnn[int4]'")):
        Quantize(scheme="int4").check(mixed)
    Quantize().check(mixed)


def test_the_4_bit_file_is_a_tflite_model_and_reproducible(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    model = quick().apply(toy_model, toy_view, seed=3)
    assert isinstance(model, TFLiteModel)
    assert model.digest == quick().apply(toy_model, toy_view, seed=3).digest


def test_a_kernel_stored_behind_the_flatbuffer_is_read_and_runs() -> None:
    model = network(
        layer("Flatten"), layer("Dense", 1400, name="large"), layer("Dense", 5, name="scores")
    )
    file = int4.export(model, ["scores"], SEEN)
    large, scores = contents.kernels(file.content)
    assert (large.dtype, large.values.shape, scores.dtype) == ("int8", (192, 1400), "int4")
    exact = model.keras(SEEN, training=False).numpy()
    found = measure.predict(file, IMAGES, 1 / 255)
    assert np.abs(found - exact).max() < 0.2 * np.ptp(exact)
