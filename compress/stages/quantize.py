"""quantize: post-training quantization: store a trained model in fewer bits, without fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import click
import numpy as np

from compress.findings import CannotTreat, Finding, about_layer
from compress.keras_models.layers import check_named, is_depthwise, layer_of
from compress.keras_models.model import KerasModel
from compress.quantization import file_size, int4, trial
from compress.quantization.gptq import QMAX, most_sensitive
from compress.stage import Stage, option
from compress.tasks.view import TaskView
from compress.tflite.convert import SCHEMES
from compress.tflite.model import TFLiteModel

FORMATS = (*(scheme for scheme in SCHEMES if scheme != "float32"), "int4")


@dataclass(frozen=True, kw_only=True)
class Quantize(Stage):
    """Store the model in fewer bits, without training, as a finished .tflite file."""

    name: ClassVar = "quantize"
    gives: ClassVar = "tflite"
    trains: ClassVar = False
    scheme: str = option(
        "int8",
        click.Choice(FORMATS),
        "Number types of storage and computation; see the page of this stage.",
    )
    calibration: int = option(
        500,
        click.IntRange(1, 1_000_000),
        "Number of training images that set the ranges of activations, and the rounding of int4.",
    )
    keep: tuple[str, ...] = option(
        (), str, "With int4: name of a layer whose weights stay in 8 bits."
    )
    int8_share: float = option(
        0.0,
        click.FloatRange(0, 1, max_open=True),
        "With int4: maximum share of all weights that stay in 8 bits, besides those of --keep; the most sensitive "
        "layers are chosen.",
    )
    target: str | None = option(
        None,
        click.Choice(["micro"]),
        "With int4: leave Dense layers in 8 bits, because TFLM, the interpreter for microcontrollers, has no 4-bit "
        "kernels for them.",
    )

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        only_int4 = {"keep": self.keep, "int8_share": self.int8_share, "target": self.target}
        for name, value in only_int4.items():
            if value and self.scheme != "int4":
                raise ValueError(
                    f"quantize: option '{name}' goes with scheme int4, not with {self.scheme}; leave it out."
                )

    def libraries(self) -> tuple[str, ...]:
        four = ("ai-edge-quantizer",) if self.scheme == "int4" else ()
        return (*Stage.libraries(self), *four)

    def check(self, model: KerasModel) -> list[Finding]:
        findings = self._check_kernels(model) if self.scheme == "int4" else []
        coarse = [name for name, w in model.kernel_variables().items() if self._coarse(name, w)]
        try:
            trial.check(model, self.scheme, coarse)
        except CannotTreat as refusal:
            raise CannotTreat(*refusal.findings, stage=self.name) from None
        return findings

    def _check_kernels(self, model: KerasModel) -> list[Finding]:
        """A finding for each kernel that stays in 8 bits. CannotTreat if a layer that needs 8 bits is not kept."""
        int4.check()
        kernels = model.kernel_variables()
        check_named(self.name, self.keep, map(layer_of, kernels), "with a kernel to keep")
        refused = {n: kind for n, kind in int4.refused(model).items() if n not in self.keep}
        if refused:
            way = f"add {' '.join(f'--keep {name}' for name in refused)}, or use scheme int8"
            reason = "cannot be stored in 4 bits"
            findings = [about_layer(name, kind, reason, way) for name, kind in refused.items()]
            raise CannotTreat(*findings, stage=self.name)
        if not any(self._coarse(name, kernel) for name, kernel in kernels.items()):
            layers = tuple(dict.fromkeys(map(layer_of, kernels)))
            way = "keep fewer layers, or use scheme int8"
            finding = Finding(layers, "is left to store in 4 bits", way, "no kernel")
            raise CannotTreat(finding, stage=self.name)
        why = {
            name: "TFLite has no 4-bit depthwise kernels"
            if is_depthwise(name)
            else "TFLM has no 4-bit kernels for Dense layers"
            for name, kernel in kernels.items()
            if layer_of(name) not in self.keep and not self._coarse(name, kernel)
        }
        return [
            Finding((layer_of(name),), f"is stored in 8 bits: {reason}", subject=name, lasting=True)
            for name, reason in why.items()
        ]

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> TFLiteModel:
        if self.scheme == "int4":
            self._check_kernels(model)
        chosen = np.random.default_rng(seed).permutation(len(task.train))[: self.calibration]
        images = task.train.images[chosen] * np.float32(task.task.input_scale)
        if self.scheme != "int4":
            return model.to_tflite(self.scheme, images)
        sizes = {name: w.size for name, w in model.kernels().items()}
        names = [name for name, kernel in model.kernels().items() if self._coarse(name, kernel)]
        if self.int8_share:
            mse = int4.output_mse(model, names, images)
            spared = most_sensitive(mse, sizes, self.int8_share * sum(sizes.values()))
            names = [name for name in names if name not in spared]
        return int4.export(model, names, images)

    def file_bytes(self, model: KerasModel) -> int:
        kernels = model.kernels()
        coarse = [name for name, kernel in kernels.items() if self._coarse(name, kernel)]
        # Each weight that stays in 8 bits by `int8_share` takes half a byte more.
        spared = self.int8_share * sum(kernel.size for kernel in kernels.values())
        return file_size.bytes_of(model, self.scheme, coarse) + math.ceil(spared / 2)

    def why_not_on_micro(self) -> str:
        if self.scheme != "dynamic":
            return ""
        return "quantize with scheme dynamic computes in float with 8-bit weights: use scheme int8"

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        broken = [
            f"{name} is stored in numbers that are not those of {self.scheme}"
            for name, kernel in kernels.items()
            if not self._stored(kernel)
        ]
        if self.scheme == "int4":
            wide = {n: k.size for n, k in kernels.items() if self._coarse(n, k) and _wide(k)}
            total = sum(kernel.size for kernel in kernels.values())
            if sum(wide.values()) > self.int8_share * total:
                broken.append(
                    f"{', '.join(wide)} with {sum(wide.values())} of {total} weights need more than 4 bits, "
                    f"expected at most {self.int8_share:.4g} of them"
                )
        return broken

    def _coarse(self, name: str, kernel: Any) -> bool:
        """True if a kernel, given as an array or a variable, may be stored in 4 bits."""
        dense = len(kernel.shape) == 2
        return not (is_depthwise(name) or layer_of(name) in self.keep or (self.target and dense))

    def _stored(self, kernel: np.ndarray) -> bool:
        return (
            kernel.dtype.kind == "i"
            if self.scheme == "int4"
            else SCHEMES[self.scheme].holds(kernel)
        )


def _wide(kernel: np.ndarray) -> bool:
    """True if a stored kernel has codes that do not fit into 4 bits."""
    return kernel.dtype.kind != "i" or bool(np.abs(kernel).max(initial=0) > QMAX)
