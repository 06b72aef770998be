"""Quantization-aware training by tfmot: from a Keras 3 model to a tf_keras model whose training simulates int8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from compress.keras_models.model import KerasModel
from compress.tfmot import keras2_layers
from compress.tfmot.bridge import tf_keras, tfmot, twin
from compress.tfmot.qat_scheme import depthwise_name, scheme
from compress.weight_sharing import cluster_ids

PREFIX = "quant_"  # tfmot's prefix of the name of a layer
BATCH = 100  # images at a time when ranges are measured


def quantizable(model: Any, calibration: np.ndarray, seed: int = 0) -> Any:
    """A tf_keras model with the weights of a Keras 3 model; its training simulates int8 and keeps zeros and clusters.

    Args:
      calibration: float32 [n, h, w, c] images as the model sees them; they give the initial ranges of activations.
      seed: decides what dropout drops.
    """
    clusters = {name: cluster_ids(w) for name, w in KerasModel(model).kernels().items()}
    keras2_model = twin(model, seed, clusters)
    dropout = keras2_layers.counted_dropout(tf_keras())
    own_classes = [dropout, *(type(v.constraint) for v in keras2_model.weights if v.constraint)]
    # tfmot copies layers by configuration, so it must know the classes that are not built into Keras.
    with tf_keras().utils.custom_object_scope({c.__name__: c for c in own_classes}):
        plain = tf_keras().models.clone_model(keras2_model, clone_function=_with_tfmot_class)
        plain.set_weights(keras2_model.get_weights())
        annotated = tfmot().quantization.keras.quantize_annotate_model(plain)
        quantized = tfmot().quantization.keras.quantize_apply(annotated, scheme((dropout,)))
    _initialize_activation_ranges(quantized, plain, calibration)
    set_kernel_ranges(quantized)
    return quantized


def set_kernel_ranges(quantized: Any) -> None:
    """Set the range of each kernel to the range of its current weights: after training it is one step behind."""
    for layer, ranges in _ranges(quantized):
        kernels = {v.name.split("/")[-1].split(":")[0]: v for v in layer.weights}
        for name, (low, high) in ranges.items():
            if name in kernels:
                kernel = np.abs(kernels[name].numpy())
                if "depthwise" in name:
                    kernel = kernel.reshape(-1, kernel.shape[2] * kernel.shape[3])
                axes = tuple(range(kernel.ndim - len(high.shape)))
                largest = kernel.max(axis=axes)
                largest = np.where(largest > 0, largest, 1)  # zeros may have any range
                low.assign(-largest)
                high.assign(largest)


def _with_tfmot_class(layer: Any) -> Any:
    """A copy of a layer. A ReLU with a slope becomes a LeakyReLU, an Activation of relu or relu6 a ReLU.

    tfmot decides by the class of a layer how to quantize the layer.
    """
    k, config = tf_keras().layers, layer.get_config()
    if type(layer) is k.ReLU and config["negative_slope"]:
        return k.LeakyReLU(float(config["negative_slope"]), name=layer.name)
    activation = getattr(getattr(layer, "activation", None), "__name__", None)
    if type(layer) is k.Activation and activation in ("relu", "relu6"):
        return k.ReLU(6.0 if activation == "relu6" else None, name=layer.name)
    return type(layer).from_config(config)


def _ranges(quantized: Any) -> Iterator[tuple[Any, dict[str, tuple[Any, Any]]]]:
    """Each layer that has ranges, and their variables: name of a tensor of the layer -> (least, greatest)."""
    for layer in quantized.layers:
        variables = {v.name.split("/")[-1].split(":")[0]: v for v in layer.weights}
        ranges = {
            name.removesuffix("_max"): (variables[name.removesuffix("max") + "min"], variable)
            for name, variable in variables.items()
            if name.endswith("_max")
        }
        if ranges:
            yield layer, ranges


def _initialize_activation_ranges(quantized: Any, plain: Any, images: np.ndarray) -> None:
    """Set the range of each activation to that of `plain`, the same model in float, for `images`."""
    targets = {}
    for layer, ranges in _ranges(quantized):
        for name, pair in ranges.items():
            if name in ("output", "post_activation", "pre_activation"):
                targets[layer.name, name] = pair
            elif not layer.name.startswith(PREFIX):
                targets[layer.name, "image"] = pair
    tensors = {key: _tensor(plain, *key) for key in targets}
    probe = tf_keras().Model(plain.inputs, list(tensors.values()))
    lows, highs = [], []
    for start in range(0, len(images), BATCH):
        values = probe(images[start : start + BATCH], training=False)
        values = values if isinstance(values, list) else [values]
        lows.append([v.numpy().min() for v in values])
        highs.append([v.numpy().max() for v in values])
    for (low, high), least, greatest in zip(
        targets.values(), np.min(lows, axis=0), np.max(highs, axis=0), strict=True
    ):
        if least < greatest or greatest:  # a tensor that is zero for all images keeps tfmot's range
            low.assign(min(least, 0))  # TFLite requires zero to be in the range
            high.assign(max(greatest, 0))


def _tensor(plain: Any, name: str, kind: str) -> Any:
    """The tensor of the float model that gives the range of a layer of the quantized model."""
    if kind == "image":
        return plain.inputs[0]
    name = name.removeprefix(PREFIX)
    layers: Mapping[str, Any] = {layer.name: layer for layer in plain.layers}
    if name in layers and kind != "pre_activation":
        return layers[name].output
    whole = name if name in layers else name.removesuffix(depthwise_name(""))
    return _part(layers[whole], depthwise=name not in layers)


def _part(layer: Any, depthwise: bool) -> Any:
    """The output of a layer before its activation, or that of the depthwise part of a SeparableConv2D."""
    k, config = tf_keras().layers, layer.get_config()
    if depthwise:
        options = ("strides", "padding", "depth_multiplier", "dilation_rate", "kernel_size")
        part = k.DepthwiseConv2D(
            **{o: config[o] for o in options}, use_bias=False, name=f"{layer.name}/first_part"
        )
        output = part(layer.input)
        part.set_weights(layer.get_weights()[:1])
        return output
    part = type(layer).from_config(
        config | {"activation": "linear", "name": f"{layer.name}/before_activation"}
    )
    output = part(layer.input)
    part.set_weights(layer.get_weights())
    return output
