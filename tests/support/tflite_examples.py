"""TFLite files for tests: exported from small Keras models, or edited field by field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compress import backend
from compress.data.dataset import Dataset, Split

Layer = tuple[str, dict[str, Any]]  # the name of a Keras layer and how to build it


def functional(shape: tuple[int | None, ...], *names: Layer, seed: int = 0) -> Any:
    """A Keras model of layers in sequence, with nonzero weights drawn from a seed.

    >>> functional((4,), ("Dense", {"units": 2})).output_shape
    (None, 2)
    """
    keras = backend.keras()
    x = image = keras.layers.Input(shape)
    for name, words in names:
        x = getattr(keras.layers, name)(**words)(x)
    return drawn(keras.Model(image, x), seed)


def three_layers_model() -> Any:
    """Conv 3x3 of 4 filters on 6x6x2, depthwise 2x2 without padding, dense of 3."""
    return functional(
        (6, 6, 2),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same"}),
        ("DepthwiseConv2D", {"kernel_size": 2}),
        ("Flatten", {}),
        ("Dense", {"units": 3}),
    )


def drawn(model: Any, seed: int = 0) -> Any:
    """The model with every weight drawn from a seed; the variances of BatchNormalization stay positive."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        new = [rng.normal(size=w.shape) for w in layer.get_weights()]
        if type(layer).__name__ == "BatchNormalization":
            new[3] = np.abs(new[3]) + 0.1
        layer.set_weights(new)
    return model


def export(model: Any, choose: Callable[[Any], None] = lambda converter: None) -> bytes:
    """The model as `.tflite` for one input; `choose` sets the converter's options."""
    tf = backend.tensorflow()
    signature = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32, name="image")
    root = tf.Module()
    root.held = [v.value for v in model.variables]
    with backend.stderr_held_back():
        function = tf.function(lambda image: model(image, training=False))
        concrete = function.get_concrete_function(signature)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], root)
        choose(converter)
        return converter.convert()


def float16(converter: Any) -> None:
    """Choose weights in float16."""
    tf = backend.tensorflow()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def int8(images: np.ndarray) -> Callable[[Any], None]:
    """Choose int8 throughout, calibrated on float32 images [n, h, w, c]."""

    def choose(converter: Any) -> None:
        tf = backend.tensorflow()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8

    return choose


def sparse(converter: Any) -> None:
    """Choose TFLite's sparse encoding for tensors that become smaller by it."""
    converter.optimizations = [backend.tensorflow().lite.Optimize.EXPERIMENTAL_SPARSITY]


def edited(content: bytes, change: Callable[[Any], None]) -> bytes:
    """The file after `change` edited its flatbuffer object (`.buffers`, `.subgraphs[0].tensors` and so on)."""
    import flatbuffers

    model = backend.tflite_schema().ModelT.InitFromPackedBuf(content)
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor_of_shape(model: Any, shape: Sequence[int]) -> Any:
    """The one constant tensor of that shape in a flatbuffer object."""
    (found,) = [
        t
        for t in model.subgraphs[0].tensors
        if list(t.shape) == list(shape) and model.buffers[t.buffer].data is not None
    ]
    return found


def dataset(test: Split, classes: int) -> Dataset:
    """A data set that has only test images."""
    none = Split(test.images[:0], test.labels[:0])
    return Dataset("hand-made", tuple(map(str, range(classes))), none, none, lambda: test)
