"""Fold layers that scale and shift channels into a neighboring kernel, or turn them into a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.diagnosis import affine
from compress.diagnosis.affine import Affine
from compress.keras_models.graph import Call, Graph
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_batchnorm, is_channels_last
from compress.keras_models.rebuild import LayerSpec, Rewrite


def into_previous_kernel(graph: Graph, call: Call) -> Rewrite | None:
    """Fold a BatchNormalization into the kernel of the convolution or Dense layer, without activation, before it."""
    before = graph.makers.get(id(call.inputs[0]))
    if not is_batchnorm(call.layer) or before is None:
        return None
    change, kind = _affine(call), kind_of(before.layer)
    linear = kind.kernels and before.layer.get_config()["activation"] == "linear"
    if change is None or not linear or graph.sole_user(before) is not call:
        return None
    if not is_channels_last(before.layer):
        return None
    scale, shift = change
    kernels, bias = _weights(before.layer)
    kernels[-1] = affine.scaled_outputs(kernels[-1], scale, kind.kernels[-1])
    spec = _with(before.layer, kernels, bias * scale + shift)
    name, into = call.layer.name, before.layer.name
    return Rewrite(
        f"{name}: folded into the kernel of {into}, which is right before it.",
        (name, into),
        {name: (), into: (spec,)},
    )


def into_next_kernel(graph: Graph, call: Call) -> Rewrite | None:
    """Fold a layer that scales and shifts channels into the next kernel, if that is exact."""
    change, user = _affine(call), graph.sole_user(call)
    while change is not None and user is not None and not kind_of(user.layer).kernels:
        change = _moved_past(user, change)
        user = graph.sole_user(user)
    if change is None or user is None or not is_channels_last(user.layer):
        return None
    kind, (scale, shift) = kind_of(user.layer), change
    # A padded kernel or transposed convolution sees fewer inputs at the border, so the effect of a shift varies there.
    if shift.any() and (_pads(user.layer) or kind.macs_over == "input"):
        return None
    kernels, bias = _weights(user.layer)
    if shift.any():
        added = affine.added_by_shift(kernels[0], shift, kind.kernels[0])
        for pointwise in kernels[1:]:
            added = added @ pointwise.reshape(pointwise.shape[-2:])
        bias = bias + added
    kernels[0] = affine.scaled_inputs(kernels[0], scale, kind.kernels[0])
    name, into = call.layer.name, user.layer.name
    return Rewrite(
        f"{name}: folded into the kernel of {into}, the next one after it.",
        (name, into),
        {name: (), into: (_with(user.layer, kernels, bias),)},
    )


def into_a_convolution(graph: Graph, call: Call) -> Rewrite | None:
    """Turn a layer that scales and shifts the channels of images into a 1x1 depthwise convolution."""
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
    """The scale and shift that a layer applies to each channel, the last axis of its input; None if it does not."""
    layer, (tensor, *others) = call.layer, call.inputs
    last = (-1, len(tensor.shape) - 1)
    if type(layer).__module__.split(".")[0] != "keras" or others:
        return None
    kind, channels = kind_of(layer).affine, tensor.shape[-1]
    if kind == "batchnorm" and layer.axis in last:
        gamma = np.array(layer.gamma) if layer.scale else 1.0
        beta = np.array(layer.beta) if layer.center else 0.0
        mean, variance = np.array(layer.moving_mean), np.array(layer.moving_variance)
        return affine.normalization(mean, variance, layer.epsilon, gamma, beta)
    if kind == "rescaling":
        scale, shift = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    elif kind == "normalization" and not layer.invert and set(layer.axis) <= set(last):
        deviation = np.sqrt(np.asarray(layer.variance, np.float64))
        scale = 1 / np.maximum(deviation, backend.keras().config.epsilon())
        shift = -np.asarray(layer.mean, np.float64) * scale
    else:
        return None
    if any(v.size != 1 and (v.size, v.shape[-1]) != (channels, channels) for v in (scale, shift)):
        return None  # the scale or shift varies between pixels
    return np.resize(scale, channels), np.resize(shift, channels)


def _moved_past(call: Call, change: Affine) -> Affine | None:
    """The scale and shift to apply after a layer instead of `change` before it; None if they do not commute."""
    scale, shift = change
    commutes = kind_of(call.layer).commutes
    if not is_channels_last(call.layer):
        return None
    if commutes == "flattened":
        times = int(np.prod(call.inputs[0].shape[1:-1]))
        return np.tile(scale, times), np.tile(shift, times)
    passes = (
        commutes == "always"
        or (commutes == "scale not negative" and (scale >= 0).all())
        or (commutes == "no shift" and not shift.any())
    )
    return change if passes else None


def _pads(layer: Any) -> bool:
    """True if the kernel of a layer covers the zeros that the layer pads its input with."""
    sizes = getattr(layer, "kernel_size", (1,))
    return getattr(layer, "padding", "valid") != "valid" and any(size > 1 for size in sizes)


def _weights(layer: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """The kernels of a layer and its bias, float64. The bias is zero if the layer has none."""
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    if layer.use_bias:
        return weights[:-1], weights[-1]
    return weights, np.zeros(layer.output.shape[-1])


def _with(layer: Any, kernels: list[np.ndarray], bias: np.ndarray) -> LayerSpec:
    """The layer with other weights, and with a bias if it needs one."""
    biased = layer.use_bias or bool(bias.any())
    weights = [w.astype(np.float32) for w in (*kernels, *([bias] if biased else []))]
    return LayerSpec(type(layer), layer.get_config() | {"use_bias": biased}, weights)
