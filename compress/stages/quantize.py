"""quantize: store a trained model in smaller numbers, after training, through TFLite's converter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import click
import numpy as np

from compress.model import KerasModel, Scheme, TFLiteModel
from compress.stage import Stage, option
from compress.task import TaskView

# The converter leaves kernels with fewer numbers in float32 under "dynamic": they save too little.
LEAST_DYNAMIC = 1024


@dataclass(frozen=True, kw_only=True)
class Quantize(Stage):
    """Store the model in smaller numbers, without training; the result is a finished .tflite file."""

    name: ClassVar = "quantize"
    gives: ClassVar = "tflite"
    scheme: str = option(
        "int8",
        click.Choice(["int8", "int16x8", "float16", "dynamic"]),
        "What is stored and computed in: see the page of this stage.",
    )
    calibration: int = option(
        500, click.IntRange(min=1), "Training images that ranges of activations are read from."
    )

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> TFLiteModel:
        chosen = np.random.default_rng(seed).permutation(len(task.train))[: self.calibration]
        images = task.train.images[chosen] * np.float32(task.task.input_scale)
        return model.to_tflite(cast(Scheme, self.scheme), images)

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        return [
            f"{name} is stored in numbers that are not those of {self.scheme}"
            for name, kernel in kernels.items()
            if not self._stored(kernel)
        ]

    def _stored(self, kernel: np.ndarray) -> bool:
        if self.scheme == "float16":
            return np.array_equal(kernel, kernel.astype(np.float16))
        small = self.scheme == "dynamic" and kernel.size < LEAST_DYNAMIC
        return small or kernel.dtype.kind == "i"
