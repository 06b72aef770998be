"""Architectures and a small model in the formats of Keras, as `.keras` or HDF5 files, made without Keras."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]
# Variables of the layers below, in Keras's order: layer -> name -> shape.
SHAPES = {
    "conv": {"kernel": (3, 3, 3, 4), "bias": (4,)},
    "norm": dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (4,)),
    "logits": {"kernel": (144, 3), "bias": (3,)},
}
STORED_AS = {"conv": "conv2d", "norm": "batch_normalization", "logits": "dense"}


def obj(class_name: str, module: str | None = "keras.layers", /, **config: Any) -> Config:
    """An object in the serialization format of Keras 3."""
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def image(shape: Sequence[int | None] = (8, 8, 3), name: str = "image") -> Config:
    return obj("InputLayer", batch_shape=[None, *shape], name=name)


def sequential(*layers: Config, name: str = "model", **config: Any) -> Config:
    return obj("Sequential", "keras", name=name, layers=list(layers), **config)


def relus(count: int) -> list[Config]:
    return [obj("ReLU", name=f"relu{number}") for number in range(count)]


def tensor(source: str, call: int = 0) -> Config:
    """The output of a call of the layer `source`, as an argument of another call."""
    inner = {"shape": [None, 8, 8, 3], "dtype": "float32", "keras_history": [source, call, 0]}
    return {"class_name": "__keras_tensor__", "config": inner}


def functional(*layers: Config, calls: Sequence[Sequence[Sequence[Any]]] | None = None) -> Config:
    """A functional model of layers in sequence; the first layer is an input.

    Args:
      calls: for each layer its calls, each by its arguments, instead of one call on the output of the layer before it.
    """
    names = [layer["config"]["name"] for layer in layers]
    if calls is None:
        calls = [[], *([[tensor(name)]] for name in names[:-1])]
    listed = [
        layer
        | {"name": name, "inbound_nodes": [{"args": list(args), "kwargs": {}} for args in own]}
        for layer, name, own in zip(layers, names, calls, strict=True)
    ]
    ends = {"input_layers": [[names[0], 0, 0]], "output_layers": [[names[-1], 0, 0]]}
    return obj("Functional", "keras.src.models.functional", name="model", layers=listed, **ends)


def good() -> Config:
    """The architecture whose variables `SHAPES` lists: float32 [b, 8, 8, 3] -> [b, 3]."""
    return functional(
        image(),
        obj("Conv2D", name="conv", filters=4, kernel_size=[3, 3], activation="relu"),
        obj("BatchNormalization", name="norm"),
        obj("Flatten", name="flat"),
        obj("Dense", name="logits", units=3),
    )


def drawn(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).random(shape, dtype=np.float32)


def weights() -> bytes:
    """`model.weights.h5` of a `.keras` archive."""
    with io.BytesIO() as held:
        with h5py.File(held, "w") as file:
            for layer, shapes in SHAPES.items():
                for number, shape in enumerate(shapes.values()):
                    file[f"layers/{STORED_AS[layer]}/vars/{number}"] = drawn(shape)
        return held.getvalue()


def keras_file(
    path: Path,
    config: Config | bytes | None = None,
    held: bytes | None = None,
    packing: int = zipfile.ZIP_STORED,
    **more: bytes,
) -> Path:
    """A `.keras` archive; `more` adds members by name."""
    text = config if isinstance(config, bytes) else json.dumps(config or good()).encode()
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in more.items():
            archive.writestr(name, content)
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", weights() if held is None else held)
    return path


def without_modules(node: Any) -> Any:
    """An architecture as Keras 3 writes it to HDF5 files: objects have a class name but no module."""
    if isinstance(node, list):
        return [without_modules(value) for value in node]
    if not isinstance(node, dict):
        return node
    unsaid = ("module", "registered_name")
    return {key: without_modules(value) for key, value in node.items() if key not in unsaid}


def h5_file(
    path: Path, config: Config | bytes | None = None, change: Callable[[h5py.File], Any] = id
) -> Path:
    """A complete model as HDF5; `change` edits the finished file."""
    text = config if isinstance(config, bytes) else json.dumps(config or without_modules(good()))
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = text
        file.attrs["keras_version"], file.attrs["backend"] = "3.15.1", "tensorflow"
        held = file.create_group("model_weights")
        names = ["image", "conv", "norm", "flat", "logits"]
        held.attrs["layer_names"] = [name.encode() for name in names]
        for layer in names:
            own = held.create_group(layer)
            shapes = SHAPES.get(layer, {})
            own.attrs["weight_names"] = [f"{layer}/{name}".encode() for name in shapes]
            for name, shape in shapes.items():
                own[f"{layer}/{name}"] = drawn(shape)
        held.create_group("top_level_model_weights").attrs["weight_names"] = []
        change(file)
    return path
