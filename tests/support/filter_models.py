"""Small models of every structure through which channels are followed, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.model import KerasModel
from compress.pruning.dependency_graph import FilterGroups, build_dependency_graph

IMAGE = (8, 8, 3)
SILENCED = ("bias", "gamma", "beta", "moving_mean")


def drawn(model: Any, seed: int = 0) -> KerasModel:
    """The model with random weights: no zeros, positive variances."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.name else -0.5
        weight.assign(rng.uniform(low, 1.0, weight.shape))
    return KerasModel(model)


def functional(body: Callable[[Any, Any], Any], head: bool = True) -> KerasModel:
    """The model that `body(keras.layers, image)` builds, with a final Dense unless it has its own head."""
    k = backend.keras().layers
    image = k.Input(IMAGE, name="image")
    x = body(k, image)
    if head:
        x = k.Dense(3, name="scores")(k.GlobalAveragePooling2D()(x))
    return drawn(backend.keras().Model(image, x))


def conv(k: Any, filters: int, name: str | None = None, **words: Any) -> Any:
    return k.Conv2D(filters, 3, padding="same", name=name, **words)


def plain(k: Any, x: Any) -> Any:
    x = k.ReLU()(k.BatchNormalization(name="norm")(conv(k, 6, "first", use_bias=False)(x)))
    x = k.Dropout(0.2)(k.MaxPooling2D()(k.ZeroPadding2D(1)(x)))
    return k.LeakyReLU()(conv(k, 5, "second")(x))


def residual(k: Any, x: Any) -> Any:
    x = conv(k, 6, "first")(x)
    y = k.BatchNormalization(scale=False)(conv(k, 6, "second")(k.ReLU()(x)))
    return k.Add()([x, y]) + conv(k, 6, "third")(y)


def dense_block(k: Any, x: Any) -> Any:
    one = conv(k, 4, "first")(x)
    two = conv(k, 5, "second")(one)
    x = k.BatchNormalization()(k.Concatenate()([one, one, two]))
    return conv(k, 4, "third")(k.Concatenate(axis=1)([x, x]))


def depthwise(k: Any, x: Any) -> Any:
    x = k.PReLU(shared_axes=[1, 2])(conv(k, 6, "first")(x))
    x = k.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="each")(x)
    return conv(k, 4, "second")(k.PReLU()(k.BatchNormalization()(x)))


def grouped(k: Any, x: Any) -> Any:
    x = conv(k, 8, "first")(x)
    x = k.BatchNormalization()(conv(k, 12, "groups", groups=2)(x))
    return conv(k, 24, "each", groups=12)(x)


def separable(k: Any, x: Any) -> Any:
    x = conv(k, 4, "first")(x)
    x = k.SeparableConv2D(6, 3, depth_multiplier=2, name="separable", activation="relu")(x)
    return k.Conv2DTranspose(5, 3, strides=2, name="transposed")(x)


def flattened(k: Any, x: Any) -> Any:
    x = k.Flatten()(k.MaxPooling2D()(conv(k, 4, "first")(x)))
    return k.Dense(3, name="scores")(k.Dense(6, activation="relu", name="hidden")(x))


def reshaped(k: Any, x: Any) -> Any:
    x = k.Conv1D(6, 3, name="line")(k.Reshape((64, 4))(conv(k, 4, "first")(x)))
    x = k.SeparableConv1D(5, 3, depth_multiplier=2, name="separable")(x)
    return k.Dense(3, name="scores")(k.Reshape((60 * 5,))(x))


def squeeze(k: Any, x: Any) -> Any:
    x = conv(k, 6, "first")(x)
    scale = k.Dense(4, activation="relu", name="less")(k.GlobalAveragePooling2D()(x))
    scale = k.Dense(6, activation="sigmoid", name="more")(scale)
    return k.Multiply()([x, k.Reshape((1, 1, 6))(scale)])


def shared(k: Any, x: Any) -> Any:
    twice, norm = conv(k, 5, "twice"), k.BatchNormalization(name="norm")
    left, right = conv(k, 5, "left")(x), conv(k, 5, "right")(x)
    return k.Concatenate()([norm(twice(left)), norm(twice(right)), left])


def heads(k: Any, x: Any) -> Any:
    x = conv(k, 6, "first")(x)
    pooled = k.GlobalMaxPooling2D()(x)
    return [k.Dense(3, name="one")(pooled), k.Dense(2, name="two")(pooled), conv(k, 4, "map")(x)]


BODIES = [
    plain, residual, dense_block, depthwise, grouped, separable, flattened, reshaped, squeeze, shared, heads
]  # fmt: skip


def model_of(body: Callable[[Any, Any], Any]) -> KerasModel:
    return functional(body, head=body not in (flattened, reshaped, heads))


def sequential() -> KerasModel:
    k = backend.keras().layers
    layers = [k.Input(IMAGE), conv(k, 6, "first"), k.BatchNormalization(), k.ReLU(), k.Flatten()]
    return drawn(backend.keras().Sequential([*layers, k.Dense(3, name="scores")]))


def some(groups: FilterGroups, seed: int) -> np.ndarray:
    """Units to keep, bool [units]: at least one of each group, and not all of a group with several."""
    rng = np.random.default_rng(seed)
    kept = np.ones(groups.units, dtype=bool)
    for units in groups.groups().values():
        gone = rng.integers(1, len(units)) if len(units) > 1 else 0
        kept[rng.permutation(units)[:gone]] = False
    return kept


def silenced(model: KerasModel, groups: FilterGroups, kept: np.ndarray) -> KerasModel:
    """A copy in which every filter of the other units has zero output: kernel, bias, gamma and beta are zero.

    The moving mean is zero too, because a BatchNormalization without gamma would subtract it.
    """
    copy = model.copy()
    layers = {layer.name: layer for layer in copy.keras.layers}
    for name, flow in groups.flows.items():
        for (attribute, axis), labels in flow.weights.items():
            variable = getattr(layers[name], attribute, None)
            if variable is None:
                continue
            if (attribute, axis) == flow.makes or attribute in SILENCED:
                array = np.moveaxis(np.array(variable), axis, -1) * kept[labels]
                variable.assign(np.moveaxis(array, -1, axis))
    return copy


def outputs(model: KerasModel) -> list[np.ndarray]:
    images = np.random.default_rng(1).random((4, *model.input_shape), dtype=np.float32)
    return [np.array(each) for each in backend.keras().tree.flatten(model.keras(images))]


def units_of(model: KerasModel) -> dict[str, int]:
    """Group name -> number of units."""
    return {
        name: len(units) for name, units in build_dependency_graph(model.keras).groups().items()
    }
