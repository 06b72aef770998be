"""qat: train the model on while its int8 arithmetic is simulated, then store it in int8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import click
import numpy as np

from compress.findings import CannotTreat, Finding
from compress.keras_models.layers import is_depthwise
from compress.keras_models.model import KerasModel
from compress.stage import MAX_EPOCHS, Stage, option
from compress.tasks.view import TaskView
from compress.tflite import contents
from compress.tflite.convert import convert
from compress.tflite.model import TFLiteModel
from compress.tfmot import bridge, qat, qat_support
from compress.tfmot.qat import PREFIX
from compress.training_stage import TrainingStage
from compress.weight_sharing import distinct_per_channel, is_clustered


def lost_clusters(before: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray]) -> list[str]:
    """A sentence for each clustered kernel with an output channel that has more distinct values after storing.

    Values are counted per channel, because in a file every channel has its own scale.

    >>> w = np.array([[0.5, 2.0], [0.5, 1.0], [0.25, 1.0]])
    >>> lost_clusters({"a": w}, {"a": np.array([[127, 127], [126, 64], [64, 64]])})
    ['a has 3 values in a channel of what were 2 clusters']
    """
    lost = []
    for name, w in before.items():
        if is_clustered(w):
            # Of a depthwise kernel [h, w, c, m] the last two axes are output channels.
            shape = (*w.shape[:2], -1) if is_depthwise(name) else w.shape
            old, new = (distinct_per_channel(k.reshape(shape)) for k in (w, stored[name]))
            worst = int(np.argmax(new - old))
            if new[worst] > old[worst]:
                lost.append(
                    f"{name} has {new[worst]} values in a channel of what were {old[worst]} clusters"
                )
    return lost


@dataclass(frozen=True, kw_only=True)
class Qat(TrainingStage):
    """Train on as int8 arithmetic will compute, then store that; the result is a finished .tflite file."""

    name: ClassVar = "qat"
    gives: ClassVar = "tflite"
    epochs: int = option(
        6, click.IntRange(1, MAX_EPOCHS), "Epochs of training while int8 is simulated."
    )
    learning_rate: float = option(
        0.002, click.FloatRange(0, min_open=True), "Highest learning rate of that training."
    )
    calibration: int = option(
        500,
        click.IntRange(1, 1_000_000),
        "Training images that first ranges of activations are read from.",
    )

    def libraries(self) -> tuple[str, ...]:
        return (*Stage.libraries(self), "tf-keras", "tensorflow-model-optimization")

    def check(self, model: KerasModel) -> list[Finding]:
        self._check_layers(model)
        # Exporting without training shows which operators would stay float.
        blank = np.ones((1, *model.input_shape), np.float32)
        _whole(convert(qat.quantizable(model.keras, blank), "int8"), model)
        return TrainingStage.check(self, model)

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> TFLiteModel:
        self._check_layers(model)
        chosen = np.random.default_rng(seed).permutation(len(task.train))[: self.calibration]
        images = task.train.images[chosen] * np.float32(task.task.input_scale)
        training = qat.quantizable(model.keras, images, seed)
        _whole(convert(training, "int8"), model)  # before any training
        self.training_view(task, model).fit(
            training,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            keras=bridge.tf_keras(),
        )
        qat.set_kernel_ranges(training)
        result = _whole(convert(training, "int8"), model)
        before = model.kernels()
        if lost := lost_clusters(before, contents.matched_kernels(result.graph, before)):
            raise ValueError("qat: the int8 file breaks clusters: " + "; ".join(lost))
        return result

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        return [f"{n} is not stored in int8" for n, w in kernels.items() if w.dtype.kind != "i"]

    def _check_layers(self, model: KerasModel) -> None:
        bridge.check(model.keras)
        qat_support.check(model.keras)


def _whole(file: TFLiteModel, model: KerasModel) -> TFLiteModel:
    """The same file; CannotTreat, with the layers of `model`, if anything in it is computed in float."""
    floating = [
        operator
        for operator in file.graph.operators
        for tensor in (*operator.inputs, *operator.outputs)
        if tensor is not None and tensor.dtype.startswith("float")
    ]
    if floating:
        # The name of a tensor is a path that contains the name that tfmot gives the layer.
        paths = [tensor.name for operator in floating for tensor in operator.outputs]
        parts = {part.removeprefix(PREFIX) for path in paths for part in re.split("[/;]", path)}
        layers = tuple(layer.name for layer in model.keras.layers if layer.name in parts)
        first = floating[0]
        reason = f"would compute {first.name} ({first.outputs[0].name}) in float"
        way = "build the model without the layer that it belongs to, or use quantize"
        raise CannotTreat(Finding(layers, reason, way, "the int8 file"), stage=Qat.name)
    return file
