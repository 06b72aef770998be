"""Convert the architecture in an HDF5 file to the form of Keras 3.

Keras 2 wrote another form, and Keras 3 leaves out the modules of classes in HDF5 files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.model_files.allowlist import MODELS, OPERATIONS

Config = dict[str, Any]
# Options that Keras 2 wrote for layers that do not use them. Keras 3 does not know them.
UNUSED = {
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), ("groups",)),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), ("groups",)),
    **dict.fromkeys(
        ("SeparableConv1D", "SeparableConv2D"),
        ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    ),
    **dict.fromkeys(
        ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"), ("trainable", "noise_shape")
    ),
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN"), ("time_major",)),
    **dict.fromkeys(
        ("RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation"),
        ("rng_type",),
    ),
    **dict.fromkeys(("RandomTranslation", "RandomZoom"), ("rng_type",)),
}
# Options that may be dropped only at this value; the others may be dropped at any value.
NOTHING = {"groups": 1, "time_major": False}


def with_modules(config: Any) -> Any:
    """Add modules to the operations of a Keras 3 configuration. Without one, `x + y` would load as the layer Add.

    >>> with_modules({"layers": [{"class_name": "Add", "config": {"name": "add"}}]})["layers"][0]["module"]
    'keras.src.ops.numpy'
    """
    if isinstance(config, list):
        return [with_modules(value) for value in config]
    if not isinstance(config, dict):
        return config
    anew = {key: with_modules(value) for key, value in config.items()}
    for layer in _layers(anew):
        modules = [m for m, names in OPERATIONS.items() if layer["class_name"] in names.split()]
        # The configuration of a layer has a dtype, that of an operation only a name.
        if modules and "dtype" not in layer["config"]:
            layer.setdefault("module", modules[0])
    return anew


def from_keras_2(config: Any) -> Any:
    """Convert a Keras 2 configuration so that Keras 3 connects the layers in the same way.

    Keras 2 counts the calls of a model inside a model from 1, and writes even a single input or output as a list.

    >>> layers = [{"class_name": "Model", "config": {"name": "block"}, "inbound_nodes": []}]
    >>> block = {"layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["block", 1, 0]]}
    >>> after = from_keras_2({"class_name": "Model", "config": block})["config"]
    >>> after["input_layers"], after["output_layers"]
    (['x', 0, 0], ['block', 0, 0])
    """
    if isinstance(config, list):
        return [from_keras_2(value) for value in config]
    if not isinstance(config, dict):
        return config
    anew = {key: from_keras_2(value) for key, value in config.items()}
    models = {str(m["config"].get("name")) for m in _layers(anew) if m["class_name"] in MODELS}
    begins = any(layer["class_name"] == "InputLayer" for layer in _layers(anew)[:1])
    for layer in _layers(anew):
        layer["config"] = _without_unused(layer, begins)
        if "inbound_nodes" in layer:
            layer["inbound_nodes"] = _from_zero(layer["inbound_nodes"], models)
    for key in {"input_layers", "output_layers"} & set(anew):
        ends = _from_zero(anew[key], models)
        anew[key] = ends[0] if isinstance(ends, list) and len(ends) == 1 else ends
    return anew


def check_keras_2(config: Any, layer: str = "") -> None:
    """Raise ValueError if a layer of a Keras 2 model uses a function that Keras 3 computes differently."""
    if isinstance(config, list):
        for value in config:
            check_keras_2(value, layer)
    if isinstance(config, dict):
        layer = str(config.get("name", layer))
        for key, value in config.items():
            if key.endswith("activation") and value == "hard_sigmoid":
                raise ValueError(
                    f"layer {layer!r:.60} applies hard_sigmoid, which Keras 3 computes differently from Keras 2: "
                    "build it as Rescaling(0.2, 0.5) with ReLU(1) after it, and save again"
                )
            check_keras_2(value, layer)


def _without_unused(layer: Config, begins: bool) -> Config:
    """A layer's configuration without unused options, and without its input shape if an InputLayer `begins`."""
    unused = UNUSED.get(layer["class_name"], ())
    if begins and layer["class_name"] != "InputLayer":
        unused = (*unused, "batch_input_shape")
    config = layer["config"]
    return {k: v for k, v in config.items() if k not in unused or v != NOTHING.get(k, v)}


def _layers(config: Config) -> list[Config]:
    """The layers in the configuration of a model; empty if `config` is not that of a model."""
    layers = config.get("layers")
    return [
        layer
        for layer in (layers if isinstance(layers, list) else [])
        if isinstance(layer, dict)
        and isinstance(layer.get("class_name"), str)
        and isinstance(layer.get("config"), Mapping)
    ]


def _from_zero(value: Any, models: set[str]) -> Any:
    """Convert lists of [layer, call, output, ...] so that the calls of `models` are counted from 0."""
    if not isinstance(value, list):
        return value
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        return [value[0], max(value[1] - (value[0] in models), 0), *value[2:]]
    return [_from_zero(inner, models) for inner in value]
