"""A layer that would stay float is refused in one sentence: its name, the reason, the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compress.findings import CannotTreat
from compress.keras_models.model import KerasModel
from compress.stages.qat import Qat
from compress.tfmot import qat_support
from support.tiny_task import residual
from support.twins import IMAGE, keras


def after(*layers: Any) -> Any:
    """A model of these layers in sequence, followed by global average pooling."""
    x = image = keras().layers.Input(IMAGE)
    for layer in layers:
        x = layer(x)
    return keras().Model(image, keras().layers.GlobalAveragePooling2D()(x))


def conv(**options: Any) -> Any:
    return keras().layers.Conv2D(3, 3, name="conv", **options)


def odd(kind: str, *words: Any, **options: Any) -> Any:
    return getattr(keras().layers, kind)(*words, name="odd", **options)


def used_twice() -> Any:
    image = keras().layers.Input(IMAGE)
    x = conv()(image)
    y = odd("BatchNormalization")(x)
    return keras().Model(image, keras().layers.Add()([x, y]))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "activation before the norm": (
        lambda: after(conv(activation="relu"), odd("BatchNormalization")),
        r"layer 'odd' \(BatchNormalization\) comes after 'conv' \(Conv2D\) and its activation relu: "
        "build conv without activation, and a layer for relu after the normalization.",
    ),
    "norm after relu": (
        lambda: after(conv(), keras().layers.ReLU(name="relu"), odd("BatchNormalization")),
        r"layer 'odd' \(BatchNormalization\) comes after 'relu' \(ReLU\), which it does not fold into: put it between",
    ),
    "norm first": (
        lambda: after(odd("BatchNormalization"), conv()),
        r"layer 'odd' \(BatchNormalization\) is the first layer: .*: normalize the images before the model.",
    ),
    "norm after a transposed convolution": (
        lambda: after(odd("Conv2DTranspose", 3, 3), keras().layers.BatchNormalization(name="norm")),
        r"layer 'norm' .* comes after 'odd' \(Conv2DTranspose\), which it does not fold into",
    ),
    "norm of what others use": (used_twice, r"layer 'odd' .* is not the only user of 'conv' \(Conv2D\)"),
    "PReLU": (lambda: after(conv(), odd("PReLU")), r"'odd' \(PReLU\) has no int8 .*: use ReLU or LeakyReLU."),
    "LayerNormalization": (
        lambda: after(conv(), odd("LayerNormalization")),
        r"'odd' \(LayerNormalization\) has no int8 form in training: use BatchNormalization directly after",
    ),
    "Rescaling": (
        lambda: after(odd("Rescaling", 2.0), conv()),
        r"'odd' \(Rescaling\) has no int8 form in training: scale the images before the model.",
    ),
    "Conv1D": (
        lambda: after(keras().layers.Reshape((64, 3)), odd("Conv1D", 3, 3), keras().layers.Reshape((62, 1, 3))),
        r"'odd' \(Conv1D\) has no int8 form in training: use a Conv2D with a kernel of height 1.",
    ),
    "Multiply": (
        lambda: after(conv(), lambda x: keras().layers.Multiply(name="odd")([x, x])),
        r"'odd' \(Multiply\) has no int8 form in training: build the model without it.",
    ),
    "activation": (
        lambda: after(odd("Conv2D", 3, 3, activation="elu")),
        r"'odd' \(Conv2D\) has activation elu, which int8 training lacks here: use relu or a layer for swish.",
    ),
    "swish inside": (
        lambda: after(odd("Conv2D", 3, 3, activation="swish")),
        r"'odd' \(Conv2D\) has activation silu, .*: use Activation\('silu'\) after it.",
    ),
    "relu in a transposed convolution": (
        lambda: after(odd("Conv2DTranspose", 3, 3, activation="relu")),
        r"'odd' \(Conv2DTranspose\) has activation relu, .*: use Activation\('relu'\) after it.",
    ),
    "threshold": (
        lambda: after(conv(), odd("ReLU", threshold=0.5)),
        r"'odd' \(ReLU\) is neither max\(x, 0\) nor clipped at 6: use ReLU\(\), ReLU\(6\) or LeakyReLU\(\).",
    ),
    "other clipping": (lambda: after(conv(), odd("ReLU", max_value=3)), r"'odd' \(ReLU\) is neither"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_layer_that_would_stay_float_is_refused_in_one_sentence(case: str) -> None:
    build, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence) as error:
        qat_support.check(build())
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [conv(activation="relu")],
        lambda: [conv(), odd("BatchNormalization"), keras().layers.ReLU(6)],
        lambda: [conv(), odd("Activation", "swish")],
        lambda: [odd("SeparableConv2D", 3, 3), keras().layers.BatchNormalization()],
        lambda: [odd("Conv2DTranspose", 3, 3), keras().layers.ReLU()],
        lambda: [odd("LeakyReLU"), conv(groups=3)],
        lambda: [conv(dilation_rate=2), odd("ReLU")],
    ],
)
def test_supported_layers_pass_the_check_without_findings(layers: Any) -> None:
    assert Qat().check(KerasModel(after(*layers()))) == []


def test_a_residual_model_passes_the_check() -> None:
    qat_support.check(residual().keras)


def test_float_operators_that_no_rule_covers_are_found_in_the_file() -> None:
    model = KerasModel(after(conv(), odd("Activation", "softsign")))
    with pytest.raises(
        CannotTreat,
        match=r"qat: the integer file would compute [A-Z_0-9]+ \(layer 'odd'\) in float: build",
    ) as refusal:
        Qat().check(model)
    assert refusal.value.findings[0].layers == ("odd",)
