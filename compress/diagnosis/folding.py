"""Layers that scale and shift every channel, taken into the kernel before or after them, or made a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.diagnosis import affine
from compress.diagnosis.affine import Affine
from compress.keras_models.graph import Call, Graph
from compress.keras_models.layers import KERNELS
from compress.keras_models.rebuild import LayerSpec, Rewrite

# Layers that a scale and a shift of channels can pass. With a maximum only if no scale is negative, and where zeros
# are put around the image only if there is no shift.
PASSING = """
AveragePooling1D AveragePooling2D Cropping1D Cropping2D Dropout GlobalAveragePooling1D GlobalAveragePooling2D
Identity SpatialDropout1D SpatialDropout2D UpSampling1D UpSampling2D
"""
MAXIMA = "GlobalMaxPooling1D GlobalMaxPooling2D MaxPooling1D MaxPooling2D"
PADDING = "ZeroPadding1D ZeroPadding2D"


def into_previous_kernel(graph: Graph, call: Call) -> Rewrite | None:
    """A BatchNormalization right after a convolution or Dense without activation becomes part of its kernel."""
    before = graph.makers.get(id(call.inputs[0]))
    if type(call.layer).__name__ != "BatchNormalization" or before is None:
        return None
    change, kind = _affine(call), type(before.layer).__name__
    linear = kind in KERNELS and before.layer.get_config()["activation"] == "linear"
    if change is None or not linear or graph.sole_user(before) is not call:
        return None
    if not _channels_last(before.layer):
        return None
    scale, shift = change
    kernels, bias = _weights(before.layer)
    kernels[-1] = affine.scaled_outputs(kernels[-1], scale, kind)
    spec = _with(before.layer, kernels, bias * scale + shift)
    name, into = call.layer.name, before.layer.name
    return Rewrite(
        f"{name}: folded into the kernel of {into}, which is right before it.",
        (name, into),
        {name: (), into: (spec,)},
    )


def into_next_kernel(graph: Graph, call: Call) -> Rewrite | None:
    """A layer that scales and shifts channels becomes part of the kernel that comes next, where that is exact."""
    change, user = _affine(call), graph.sole_user(call)
    while change is not None and user is not None and type(user.layer).__name__ not in KERNELS:
        change = _past(user, change)
        user = graph.sole_user(user)
    if change is None or user is None or not _channels_last(user.layer):
        return None
    kind, (scale, shift) = type(user.layer).__name__, change
    if shift.any() and (_pads(user.layer) or kind == "Conv2DTranspose"):
        return None
    kernels, bias = _weights(user.layer)
    if shift.any():
        added = affine.added_by_shift(kernels[0], shift, kind)
        bias = bias + (added @ kernels[1][0, 0] if len(kernels) == 2 else added)
    kernels[0] = affine.scaled_inputs(kernels[0], scale, kind)
    name, into = call.layer.name, user.layer.name
    return Rewrite(
        f"{name}: folded into the kernel of {into}, the next one after it.",
        (name, into),
        {name: (), into: (_with(user.layer, kernels, bias),)},
    )


def into_a_convolution(graph: Graph, call: Call) -> Rewrite | None:
    """A layer that scales and shifts the channels of images becomes a depthwise convolution of one pixel."""
    change = _affine(call)
    if change is None or len(call.inputs[0].shape) != 4:
        return None
    scale, shift = (values.astype(np.float32) for values in change)
    name = call.layer.name
    spec = LayerSpec(
        backend.keras().layers.DepthwiseConv2D,
        {"name": name, "kernel_size": 1},
        [scale.reshape(1, 1, -1, 1), shift],
    )
    return Rewrite(
        f"{name}: becomes a 1x1 DepthwiseConv2D; no kernel beside it can take it exactly.",
        (name,),
        {name: (spec,)},
    )


def _affine(call: Call) -> Affine | None:
    """The scale and shift of each channel that a layer applies to a tensor whose last axis is channels."""
    layer, (tensor, *others) = call.layer, call.inputs
    last = (-1, len(tensor.shape) - 1)
    if type(layer).__module__.split(".")[0] != "keras" or others:
        return None
    kind, channels = type(layer).__name__, tensor.shape[-1]
    if kind == "BatchNormalization" and layer.axis in last:
        gamma = np.array(layer.gamma) if layer.scale else 1.0
        beta = np.array(layer.beta) if layer.center else 0.0
        mean, variance = np.array(layer.moving_mean), np.array(layer.moving_variance)
        return affine.normalization(mean, variance, layer.epsilon, gamma, beta)
    if kind == "Rescaling":
        scale, shift = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    elif kind == "Normalization" and not layer.invert and set(layer.axis) <= set(last):
        deviation = np.sqrt(np.asarray(layer.variance, np.float64))
        scale = 1 / np.maximum(deviation, backend.keras().config.epsilon())
        shift = -np.asarray(layer.mean, np.float64) * scale
    else:
        return None
    if any(v.size != 1 and (v.size, v.shape[-1]) != (channels, channels) for v in (scale, shift)):
        return None  # it differs from pixel to pixel
    return np.resize(scale, channels), np.resize(shift, channels)


def _past(call: Call, change: Affine) -> Affine | None:
    """What has to be done after a layer if it was not done before it; None if the layer lets nothing pass."""
    scale, shift = change
    kind = type(call.layer).__name__
    if not _channels_last(call.layer):
        return None
    if kind == "Flatten":
        times = int(np.prod(call.inputs[0].shape[1:-1]))
        return np.tile(scale, times), np.tile(shift, times)
    passes = (
        kind in PASSING.split()
        or (kind in MAXIMA.split() and (scale >= 0).all())
        or (kind in PADDING.split() and not shift.any())
    )
    return change if passes else None


def _channels_last(layer: Any) -> bool:
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _pads(layer: Any) -> bool:
    """Whether a kernel meets zeros that a layer puts around its input."""
    sizes = getattr(layer, "kernel_size", (1,))
    return getattr(layer, "padding", "valid") != "valid" and any(size > 1 for size in sizes)


def _weights(layer: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """The kernels of a layer and its bias, zero if it has none, float64."""
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    if layer.use_bias:
        return weights[:-1], weights[-1]
    return weights, np.zeros(layer.output.shape[-1])


def _with(layer: Any, kernels: list[np.ndarray], bias: np.ndarray) -> LayerSpec:
    """The layer with other weights, and with a bias if it needs one."""
    biased = layer.use_bias or bool(bias.any())
    weights = [w.astype(np.float32) for w in (*kernels, *([bias] if biased else []))]
    return LayerSpec(type(layer), layer.get_config() | {"use_bias": biased}, weights)
