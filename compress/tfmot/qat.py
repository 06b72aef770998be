"""Quantization-aware training by tfmot: a Keras 3 model in, a tf_keras model that trains as its int8 file computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from compress.keras_models.model import KerasModel
from compress.tfmot import keras2_layers
from compress.tfmot.bridge import tf_keras, tfmot, twin
from compress.tfmot.qat_scheme import depthwise_name, scheme
from compress.weight_sharing import cluster_ids

PREFIX = "quant_"  # what tfmot puts before the name of a layer
BATCH = 100  # images at a time while ranges are read


def quantizable(model: Any, calibration: np.ndarray, seed: int = 0) -> Any:
    """A tf_keras model of the weights of a Keras 3 model, whose training simulates int8 and keeps zeros and clusters.

    Args:
      calibration: float32 [n, h, w, c] of images as the model sees them: ranges of activations begin as they are there.
      seed: decides what dropout drops.
    """
    kept = {name: cluster_ids(w) for name, w in KerasModel(model).kernels().items()}
    double = twin(model, seed, kept)
    dropout = keras2_layers.counted_dropout(tf_keras())
    ours = [dropout, *(type(v.constraint) for v in double.weights if v.constraint)]
    # tfmot copies layers by configuration; classes that are not Keras's own it must be told.
    with tf_keras().utils.custom_object_scope({c.__name__: c for c in ours}):
        plain = tf_keras().models.clone_model(double, clone_function=_in_tfmots_words)
        plain.set_weights(double.get_weights())
        annotated = tfmot().quantization.keras.quantize_annotate_model(plain)
        quantized = tfmot().quantization.keras.quantize_apply(annotated, scheme((dropout,)))
    _begin_activations(quantized, plain, calibration)
    set_kernel_ranges(quantized)
    return quantized


def set_kernel_ranges(quantized: Any) -> None:
    """Set the range of each kernel to what it holds now: training leaves it a step behind."""
    for layer, named in _ranges(quantized):
        kernels = {v.name.split("/")[-1].split(":")[0]: v for v in layer.weights}
        for name, (low, high) in named.items():
            if name in kernels:
                kernel = np.abs(kernels[name].numpy())
                if "depthwise" in name:
                    kernel = kernel.reshape(-1, kernel.shape[2] * kernel.shape[3])
                axes = tuple(range(kernel.ndim - len(high.shape)))
                most = kernel.max(axis=axes)
                most = np.where(most > 0, most, 1)  # any range will do for nothing but zeros
                low.assign(-most)
                high.assign(most)


def _in_tfmots_words(layer: Any) -> Any:
    """A copy of a layer. A ReLU with a slope becomes a LeakyReLU, an Activation of relu or relu6 a ReLU.

    tfmot tells by its class how a layer is quantized.
    """
    k, config = tf_keras().layers, layer.get_config()
    if type(layer) is k.ReLU and config["negative_slope"]:
        return k.LeakyReLU(float(config["negative_slope"]), name=layer.name)
    activation = getattr(getattr(layer, "activation", None), "__name__", None)
    if type(layer) is k.Activation and activation in ("relu", "relu6"):
        return k.ReLU(6.0 if activation == "relu6" else None, name=layer.name)
    return type(layer).from_config(config)


def _ranges(quantized: Any) -> Iterator[tuple[Any, dict[str, tuple[Any, Any]]]]:
    """Each layer, with the variables of its ranges: what has the range -> least, greatest."""
    for layer in quantized.layers:
        short = {v.name.split("/")[-1].split(":")[0]: v for v in layer.weights}
        found = {
            name.removesuffix("_max"): (short[name.removesuffix("max") + "min"], variable)
            for name, variable in short.items()
            if name.endswith("_max")
        }
        if found:
            yield layer, found


def _begin_activations(quantized: Any, plain: Any, images: np.ndarray) -> None:
    """Set the range of each activation to what `plain`, the same model in float, gives for `images`."""
    targets = {}
    for layer, named in _ranges(quantized):
        for name, pair in named.items():
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
    for (low, high), least, most in zip(
        targets.values(), np.min(lows, axis=0), np.max(highs, axis=0), strict=True
    ):
        if least < most or most:  # what is zero for all of these images keeps tfmot's range
            low.assign(min(least, 0))  # TFLite wants zero to be within
            high.assign(max(most, 0))


def _tensor(plain: Any, name: str, kind: str) -> Any:
    """The tensor of the float model whose range a layer of the quantized one has."""
    if kind == "image":
        return plain.inputs[0]
    name = name.removeprefix(PREFIX)
    layers: Mapping[str, Any] = {layer.name: layer for layer in plain.layers}
    if name in layers and kind != "pre_activation":
        return layers[name].output
    whole = name if name in layers else name.removesuffix(depthwise_name(""))
    return _part(layers[whole], depthwise=name not in layers)


def _part(layer: Any, depthwise: bool) -> Any:
    """What a layer gives before its activation; of a SeparableConv2D, what its first part gives."""
    k, config = tf_keras().layers, layer.get_config()
    if depthwise:
        options = ("strides", "padding", "depth_multiplier", "dilation_rate", "kernel_size")
        part = k.DepthwiseConv2D(
            **{o: config[o] for o in options}, use_bias=False, name=f"{layer.name}/first_part"
        )
        given = part(layer.input)
        part.set_weights(layer.get_weights()[:1])
        return given
    part = type(layer).from_config(
        config | {"activation": "linear", "name": f"{layer.name}/before_activation"}
    )
    given = part(layer.input)
    part.set_weights(layer.get_weights())
    return given
