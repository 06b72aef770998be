"""qat: fine-tune the model with the arithmetic of its integer file simulated, then store it in 8 or 4 bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import click
import numpy as np

from compress.findings import CannotTreat, Finding
from compress.keras_models.layers import is_depthwise, layer_of
from compress.keras_models.model import KerasModel
from compress.quantization import int4, qat_export, qat_model
from compress.quantization.operator_layers import layers_of
from compress.quantization.sensitivity import IMAGES, kernel_costs, least_noise
from compress.stage import MAX_EPOCHS, Stage, option
from compress.tasks.view import TaskView
from compress.tflite import contents
from compress.tflite.convert import converted
from compress.tflite.model import TFLiteModel
from compress.tflite.slim_proof import slim_export
from compress.tfmot import bridge, qat, qat_support
from compress.tfmot.qat import PREFIX
from compress.training_stage import FOUND_RATE, RATE, TrainingStage
from compress.typed_options import Amount
from compress.weight_sharing import distinct_per_channel, is_clustered

CASTS = ("QUANTIZE", "DEQUANTIZE")  # around operators that compute in float


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
            # The last two axes of a depthwise kernel [h, w, c, m] are output channels.
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
    """Fine-tune with simulated integer arithmetic, then write a finished .tflite file."""

    name: ClassVar = "qat"
    version: ClassVar = 5
    gives: ClassVar = "tflite"
    epochs: int = option(
        6, click.IntRange(1, MAX_EPOCHS), "Epochs of training with simulated integer arithmetic."
    )
    learning_rate: float | None = option(None, RATE, FOUND_RATE)
    calibration: int = option(
        500,
        click.IntRange(1, 1_000_000),
        "Number of training images that set the initial ranges of activations.",
    )
    bits: str = option(
        "8",
        click.Choice(["8", "4", "auto"]),
        "Bits of a weight; activations have 8. auto: 4 for the least sensitive kernels, as many as --max-bytes needs.",
    )
    max_bytes: int | None = option(
        None,
        Amount(),
        "With --bits auto: maximum bytes of the file, such as 64KB.",
    )

    def __post_init__(self) -> None:
        TrainingStage.__post_init__(self)
        if (self.bits == "auto") != (self.max_bytes is not None):
            raise ValueError(
                f"qat: option 'max_bytes' goes with bits auto, which needs it: give both or neither, "
                f"not bits {self.bits} and max_bytes {self.max_bytes}."
            )

    def libraries(self) -> tuple[str, ...]:
        by_tfmot = ("tf-keras", "tensorflow-model-optimization") if self.bits == "8" else ()
        return (*Stage.libraries(self), *by_tfmot)

    def check(self, model: KerasModel) -> list[Finding]:
        # Exporting without training shows which operators would stay float.
        blank = np.ones((1, *model.input_shape), np.float32)
        if self.bits == "8":
            try:
                self._simulated(model, {}, blank)
            except ValueError:
                if self._by_tfmot(model, blank) is None:
                    raise
            return TrainingStage.check(self, model)
        coarse = dict.fromkeys(int4.possible(model), 4)
        training = self._simulated(model, coarse, blank)
        least = qat_export.file_bytes(training) if self.max_bytes is not None else 0
        if self.max_bytes is not None and least > self.max_bytes:
            reason = f"of this model fits into {self.max_bytes} bytes: with --bits 4 it has {least}"
            way = f"give --max-bytes {least} or more, or a smaller model"
            raise CannotTreat(Finding((), reason, way, "no file"), stage=self.name)
        why = "is stored in 8 bits: TFLite has no 4-bit kernels for it"
        return TrainingStage.check(self, model) + [
            Finding((layer_of(name),), why, subject=name, lasting=True)
            for name in model.kernel_variables()
            if name not in coarse
        ]

    def trains_by_tf_keras(self, model: KerasModel) -> bool:
        blank = np.ones((1, *model.input_shape), np.float32)
        return self.bits == "8" and self._by_tfmot(model, blank) is not None

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> TFLiteModel:
        chosen = np.random.default_rng(seed).permutation(len(task.train))[: self.calibration]
        images = task.train.images[chosen] * np.float32(task.task.input_scale)
        twin = self._by_tfmot(model, images, seed) if self.bits == "8" else None
        task.record("simulated_by", "tfmot" if twin is not None else "keras")
        view = self.training_view(task, model)
        if twin is not None:
            self._fit(twin, view, seed, keras=bridge.tf_keras())
            qat.set_kernel_ranges(twin)
            whole = _whole(TFLiteModel(converted(twin, "int8")), model)
            result = slim_export(whole.content, images)
        else:
            bits = self._bits(model, view, images)
            if self.bits == "auto":
                task.record("bits", {name: bits.get(name, 8) for name in model.kernels()})
            first = int4.fake_quantized(model, bits, images).kernels() if bits else {}
            start = {name: first[name] for name in bits}
            training = self._simulated(model, bits, images, start)
            # Compute in float32 between two roundings. Otherwise they could round to other values than the file.
            exact = dataclasses.replace(view, precision="float32", answered_in=view.precision)
            freezing = qat_model.freezing(training, self.epochs)
            # With 4 bits, a high learning rate ruins the model once its statistics are frozen.
            self._fit(training, exact, seed, callbacks=[freezing], lengthen=not bits)
            whole = _whole(qat_export.exported(training), model)
            result = slim_export(whole.content, images)
            qat_export.check_codes(result, training)
        if self.max_bytes is not None and len(result.content) > self.max_bytes:
            raise ValueError(
                f"qat: the file has {len(result.content)} bytes after training, expected at most {self.max_bytes}: "
                "give a lower --max-bytes."
            )
        before = model.kernels()
        if lost := lost_clusters(before, contents.matched_kernels(result.graph, before)):
            raise ValueError("qat: the integer file breaks clusters: " + "; ".join(lost))
        return result

    def file_bytes(self, model: KerasModel) -> int | None:
        coarse = dict.fromkeys(int4.possible(model) if self.bits != "8" else [], 4)
        blank = np.ones((1, *model.input_shape), np.float32)
        kinds = [coarse] if self.max_bytes is None else [coarse, {}]
        try:
            sizes = [
                qat_export.file_bytes(qat_model.fake_quantized(model, bits, blank))
                for bits in kinds
            ]
        except CannotTreat:
            return None  # only tfmot can treat it
        # The file of a model trained by tfmot has a few bytes less than this one.
        least, most = sizes[0], sizes[-1]
        # With bits auto, the file fills the given bytes before any kernel gets 4 bits.
        return least if self.max_bytes is None else max(least, min(most, self.max_bytes))

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        return [f"{n} is not stored in int8" for n, w in kernels.items() if w.dtype.kind != "i"]

    def _fit(self, training: Any, view: TaskView, seed: int, **others: Any) -> None:
        view.fit(
            training, epochs=self.epochs, learning_rate=self.learning_rate, seed=seed, **others
        )

    def _bits(self, model: KerasModel, view: TaskView, images: np.ndarray) -> dict[str, int]:
        """Kernel name -> 4, for each kernel that is stored in 4 bits."""
        coarse = dict.fromkeys(int4.possible(model) if self.bits != "8" else [], 4)
        if self.max_bytes is None:
            return coarse
        seen = view.validation.images[:IMAGES] * np.float32(view.task.input_scale)
        labels = view.validation.labels[:IMAGES]
        costs = kernel_costs(model, images, seen, labels, coarse)
        noise = {cost.kernel: cost.noise for cost in costs if cost.bits == 4}
        saved = {name: w.size // 2 for name, w in model.kernels().items() if name in coarse}
        bits: dict[str, int] = {}
        wanted = 0
        while len(bits) < len(coarse):
            size = qat_export.file_bytes(qat_model.fake_quantized(model, bits, images))
            if size <= self.max_bytes:
                break
            wanted += size - self.max_bytes  # storing in whole words saves a little less
            bits = dict.fromkeys(least_noise(noise, saved, wanted), 4)
        return bits

    def _by_tfmot(self, model: KerasModel, images: np.ndarray, seed: int = 0) -> Any | None:
        """The model for training by tfmot; None if tfmot cannot treat it."""
        try:
            bridge.check(model.keras)
            qat_support.check(model.keras)
            twin = qat.quantizable(model.keras, images, seed)
            _whole(TFLiteModel(converted(twin, "int8")), model)  # before any training
        except CannotTreat:
            return None
        return twin

    def _simulated(
        self,
        model: KerasModel,
        bits: Mapping[str, int],
        images: np.ndarray,
        start: Mapping[str, np.ndarray] | None = None,
    ) -> Any:
        """The Keras 3 model for training by fake quantization. CannotTreat if its file would compute in float."""
        training = qat_model.fake_quantized(model, bits, images, start)
        _whole(qat_export.exported(training), model)  # before any training
        return training


def _whole(file: TFLiteModel, model: KerasModel) -> TFLiteModel:
    """Return `file`. CannotTreat, which names the layers of `model`, if anything in the file is computed in float."""
    floating = [
        operator
        for operator in file.graph.operators
        for tensor in (*operator.inputs, *operator.outputs)
        if tensor is not None and tensor.dtype.startswith("float")
    ]
    if floating:
        computing = [operator for operator in floating if operator.name not in CASTS] or floating
        layers, first = layers_of(computing, model, PREFIX), computing[0]
        where = f"layer '{layers[0]}'" if layers else f"tensor {first.outputs[0].name}"
        reason = f"would compute {first.name} ({where}) in float"
        way = "build the model without the layer that it belongs to, or use quantize"
        raise CannotTreat(Finding(layers, reason, way, "the integer file"), stage=Qat.name)
    return file
