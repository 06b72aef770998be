"""Rewrites keep the function for any weights and remove the findings of the stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress import backend
from compress.diagnosis import affine
from compress.diagnosis.repair import fixed
from compress.diagnosis.rewrites import rewrites
from compress.findings import CannotTreat, Finding
from compress.keras_models.layer_kinds import Kernel
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.stage import Stage
from compress.stages.prune import Prune
from support.model_zoo import IMAGE, KERAS_3, images, outputs, randomised


class Picky(Stage):
    """Accepts only models without augmentation whose BatchNormalization directly follows a kernel."""

    name: ClassVar = "picky"

    def apply(self, model: Any, task: Any, seed: int) -> Any:
        raise NotImplementedError

    def check(self, model: KerasModel) -> list[Finding]:
        before = None
        for layer in model.keras.layers:
            kind = type(layer).__name__
            after_kernel = type(before).__name__ in ("Conv2D", "DepthwiseConv2D", "Dense")
            if kind == "BatchNormalization" and getattr(before, "activation", None) is not None:
                linear = before.activation.__name__ == "linear"
                if after_kernel and not linear:
                    reason = f"has an activation before {layer.name}"
                    raise CannotTreat(Finding((before.name, layer.name), reason))
            if kind == "BatchNormalization" and not after_kernel:
                raise CannotTreat(Finding((layer.name,), "is not right after a kernel"))
            if kind in ("Rescaling", "Normalization", "RandomFlip", "GaussianNoise"):
                raise CannotTreat(Finding((layer.name,), f"is a {kind}"))
            if " " in layer.name:
                raise CannotTreat(Finding((layer.name,), "has a space in its name"))
            before = layer
        return []


def k() -> Any:
    return backend.keras().layers


Stack = Callable[[], list[Any]]
# The layers that the doctor has to rewrite, between the image and a final Dense.
MENDED: dict[str, Stack] = {
    "activation, then normalization, then a kernel without padding": lambda: [
        k().Conv2D(4, 3, activation="relu"), k().BatchNormalization(), k().Conv2D(5, 3)],
    "activation, then normalization, then padding": lambda: [
        k().Conv2D(4, 3, activation="relu"), k().BatchNormalization(), k().Conv2D(5, 3, padding="same")],
    "normalization of the image": lambda: [k().BatchNormalization(), k().Conv2D(4, 3)],
    "normalization past pooling and dropout": lambda: [
        k().Conv2D(4, 3), k().ReLU(), k().BatchNormalization(), k().MaxPooling2D(), k().Dropout(0.5),
        k().DepthwiseConv2D(2, depth_multiplier=2)],
    "normalization past Flatten": lambda: [
        k().Conv2D(4, 5), k().ReLU(), k().BatchNormalization(), k().AveragePooling2D(4), k().Flatten()],
    "normalization before a grouped kernel": lambda: [
        k().Conv2D(4, 3), k().ReLU(), k().BatchNormalization(), k().Conv2D(6, 3, groups=2, use_bias=False)],
    "normalization before a separable kernel": lambda: [
        k().ReLU(), k().BatchNormalization(), k().SeparableConv2D(4, 3)],
    "normalization before and after a separable kernel of a row": lambda: [
        k().Reshape((12, 36)), k().ReLU(), k().BatchNormalization(), k().SeparableConv1D(4, 3, depth_multiplier=2),
        k().ReLU(), k().BatchNormalization()],
    "normalization before a transposed kernel": lambda: [
        k().ReLU(), k().BatchNormalization(), k().Conv2DTranspose(4, 3)],
    "normalization without scale or center": lambda: [
        k().ReLU(), k().BatchNormalization(scale=False, center=False), k().Conv2D(4, 3)],
    "rescaling with an offset before padding": lambda: [
        k().Rescaling(2.0, -1.0), k().Conv2D(4, 3, padding="same")],
    "rescaling without an offset before padding": lambda: [
        k().Rescaling(1 / 255), k().Conv2D(4, 3, padding="same")],
    "rescaling of each channel": lambda: [
        k().Rescaling([2.0, 3.0, 4.0], [0.5, 0.6, 0.7]), k().ZeroPadding2D(), k().Conv2D(4, 3)],
    "normalization by given figures": lambda: [
        k().Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3]), k().Conv2D(4, 3)],
    "normalization by figures that were learnt": lambda: [k().Normalization(), k().Conv2D(4, 3)],
    "augmentation and noise": lambda: [
        k().RandomFlip(), k().GaussianNoise(0.1), k().Conv2D(4, 3)],
    "names that Keras 2 does not take": lambda: [
        k().Conv2D(4, 3, name="a b"), k().Conv2D(4, 3, name="a_b"), k().ReLU(name="_a c")],
}  # fmt: skip


def model_of(stack: list[Any], seed: int = 0) -> KerasModel:
    """The layers applied to an image, then a Dense on the flattened result; all weights random."""
    keras = backend.keras()
    image = x = keras.layers.Input(IMAGE, name="image")
    for layer in stack:
        x = layer(x)
    if len(x.shape) > 2:
        x = keras.layers.Flatten(name="end")(x)
    return KerasModel(randomised(keras.Model(image, keras.layers.Dense(3, name="scores")(x)), seed))


def assert_same_function(before: KerasModel, after: KerasModel) -> None:
    ours, theirs = (outputs(m.keras, images(8)) for m in (before, after))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(ours).max()))


@pytest.mark.parametrize("name", MENDED)
def test_fixed_removes_the_findings_of_a_stage_and_keeps_the_function(name: str) -> None:
    model = model_of(MENDED[name]())
    before = [w.copy() for w in model.keras.get_weights()]
    with pytest.raises(CannotTreat):
        Picky().check(model)
    after, done = fixed(model, [Picky()])
    assert Picky().check(after) == []
    assert done
    assert_same_function(model, after)
    for old, new in zip(before, model.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", MENDED)
def test_every_rewrite_keeps_the_function(name: str) -> None:
    model = model_of(MENDED[name](), seed=1)
    found = rewrites(model)
    assert found
    for rewrite in found:
        assert_same_function(model, rewrite.applied(model))


@pytest.mark.parametrize("name", KERAS_3)
def test_every_rewrite_of_a_zoo_model_keeps_the_function(name: str) -> None:
    model, _ = flattened(KerasModel(KERAS_3[name]()))
    found = rewrites(model)
    assert found
    for rewrite in found:
        assert_same_function(model, rewrite.applied(model))


@pytest.mark.parametrize(
    ("stack", "folds"),
    [
        (lambda: [k().BatchNormalization(name="bn"), k().Conv2D(4, 3, name="c")], True),
        (lambda: [k().BatchNormalization(name="bn"), k().Conv2D(4, 3, padding="same", name="c")], False),
        (lambda: [k().BatchNormalization(name="bn"), k().Conv2D(4, 1, padding="same", name="c")], True),
        (lambda: [k().Rescaling(2.0, 1.0, name="bn"), k().Conv2D(4, 3, padding="same", name="c")], False),
        (lambda: [k().Rescaling(2.0, name="bn"), k().Conv2D(4, 3, padding="same", name="c")], True),
        (lambda: [k().Rescaling(-2.0, name="bn"), k().MaxPooling2D(), k().Conv2D(4, 3, name="c")], False),
        (lambda: [k().BatchNormalization(name="bn"), k().ReLU(), k().Conv2D(4, 3, name="c")], False),
        (lambda: [k().BatchNormalization(name="bn"), k().ZeroPadding2D(), k().Conv2D(4, 3, name="c")], False),
    ],
)  # fmt: skip
def test_a_normalization_is_folded_into_the_next_kernel_only_where_that_is_exact(
    stack: Stack, folds: bool
) -> None:
    forward = [r for r in rewrites(model_of(stack())) if r.touches == ("bn", "c")]
    assert bool(forward) == folds


def test_a_renamed_input_gets_a_name_that_keras_2_accepts_and_no_layer_has() -> None:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE, name="the image")
    x = keras.layers.Conv2D(3, 3, name="the_image")(image)
    x = keras.layers.Conv2D(3, 3, name="the image_2")(x)
    scores = keras.layers.Dense(3, name="scores")(keras.layers.Flatten(name="flat")(x))
    model = KerasModel(randomised(keras.Model(image, scores)))
    after, done = fixed(model, [Picky()])
    assert [layer.name for layer in after.keras.layers][:3] == [
        "the_image_3",
        "the_image",
        "the_image_2",
    ]
    assert len(done) == 2
    assert_same_function(model, after)


def test_a_layer_that_is_called_twice_is_not_folded() -> None:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE)
    conv = keras.layers.Conv2D(4, 3, name="conv")
    once = keras.layers.BatchNormalization(name="norm")(conv(image))
    x = keras.layers.Add()([once, conv(image)])
    model = KerasModel(keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x))))
    assert not [r for r in rewrites(model) if set(r.touches) == {"conv", "norm"}]


def test_a_final_softmax_and_dropout_are_not_rewritten() -> None:
    model = model_of([k().Dropout(0.5), k().Flatten(), k().Dense(3, activation="softmax")])
    assert rewrites(model) == []


def test_zeros_stay_zeros_when_a_normalization_is_folded() -> None:
    model = model_of([k().Conv2D(4, 3, name="conv"), k().BatchNormalization(name="norm")])
    kernel = model.kernel_variables()["conv"]
    kernel.assign(np.array(kernel) * (np.array(kernel) > 0))
    (fold,) = (r for r in rewrites(model) if r.touches == ("norm", "conv"))
    after = fold.applied(model).kernels()["conv"]
    np.testing.assert_array_equal(after == 0, model.kernels()["conv"] == 0)


@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=20, derandomize=True)
def test_moving_scale_and_shift_through_a_kernel_gives_the_same_outputs(
    seed: int, groups: int, o: int
) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(1, 1, 2, groups * o))
    scale, shift = rng.normal(size=(2, 2 * groups))
    x = rng.normal(size=2 * groups)

    def convolved(kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
        by_group = kernel[0, 0].reshape(2, groups, o)
        return np.einsum("gi,igo->go", x.reshape(groups, 2), by_group).reshape(-1)

    moved = convolved(affine.scaled_inputs(kernel, scale, Kernel()), x)
    moved += affine.added_by_shift(kernel, shift, Kernel())
    np.testing.assert_allclose(moved, convolved(kernel, scale * x + shift), atol=1e-9)
    by = rng.normal(size=groups * o)
    np.testing.assert_allclose(
        convolved(affine.scaled_outputs(kernel, by, Kernel()), x), by * convolved(kernel, x)
    )


def test_an_operation_with_a_number_becomes_a_rescaling() -> None:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE, name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    gate = keras.layers.ReLU(6.0, name="clipped")(x + 2.0) * (1.0 / 6.0)
    x = keras.layers.Multiply(name="gated")([x, 1 - gate]) - 0.5
    scores = keras.layers.Dense(3, name="scores")(keras.layers.Flatten(name="flat")(x))
    model = KerasModel(randomised(keras.Model(image, scores)))
    with pytest.raises(CannotTreat, match="each of 4 layers"):
        Prune().check(model)
    after, done = fixed(model, [Prune()])
    assert len(done) == 4
    assert "a Rescaling in place of an operation with the number 2." in done[0].what
    assert Prune().check(after) == []
    assert_same_function(model, after)


def gated(shift: float, highest: float, factor: float) -> KerasModel:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE, name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    gate = keras.layers.Conv2D(4, 1, name="gate")(pooled)
    gate = keras.layers.ReLU(highest, name="clipped")(gate + shift) * factor
    x = keras.layers.Multiply(name="gated")([x, gate])
    scores = keras.layers.Dense(3, name="scores")(keras.layers.Flatten(name="flat")(x))
    return KerasModel(randomised(keras.Model(image, scores)))


def test_a_gate_written_as_operations_becomes_a_hard_sigmoid() -> None:
    model = gated(3.0, 6.0, 1.0 / 6.0)
    after, done = fixed(model, [Prune()])
    (rewrite,) = done
    assert ", clipped and multiply" in rewrite.what
    assert rewrite.what.endswith(": one hard_sigmoid, which is what they compute.")
    kinds = [type(layer).__name__ for layer in after.keras.layers]
    assert kinds.count("Activation") == 1
    assert {"Add", "ReLU", "Rescaling"} & set(kinds) == set()
    assert_same_function(model, after)


@pytest.mark.parametrize("numbers", [(3.0, 5.0, 1 / 6), (3.0, 6.0, 1 / 5), (2.9, 6.0, 1 / 6)])
def test_a_gate_with_other_numbers_does_not_become_a_hard_sigmoid(
    numbers: tuple[float, float, float],
) -> None:
    model = gated(*numbers)
    after, done = fixed(model, [Prune()])
    assert all("a Rescaling in place of" in rewrite.what for rewrite in done)
    assert len(done) == 2
    assert_same_function(model, after)
