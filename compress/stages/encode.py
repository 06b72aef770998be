"""encode: store pruned or clustered weights in fewer bytes, which TFLM decodes at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import click
import numpy as np

from compress.keras_models.model import KerasModel
from compress.micro import interpreter
from compress.micro.encode import encoded
from compress.stage import Stage, option
from compress.tasks.view import TaskView
from compress.tflite import contents
from compress.tflite.decode import Coding
from compress.tflite.model import TFLiteModel

CODINGS: tuple[Coding, ...] = get_args(Coding)


@dataclass(frozen=True, kw_only=True)
class Encode(Stage):
    """Encode zeros and repeated weights of an int8 file in fewer bytes. Only TFLM, on microcontrollers, runs it."""

    name: ClassVar = "encode"
    takes: ClassVar = "tflite"
    gives: ClassVar = "tflite"
    trains: ClassVar = False
    needs_micro: ClassVar = True
    coding: str = option(
        "auto",
        click.Choice(["auto", *CODINGS]),
        "How to encode a kernel: bitmap marks zeros by one bit per weight; table stores short indices of its distinct "
        "values; auto takes the shorter for each kernel.",
    )
    proof: int = option(
        200,
        click.IntRange(1, 1_000_000),
        "Number of training images for which the file must give the same scores as before, bit for bit.",
    )

    def libraries(self) -> tuple[str, ...]:
        return ("numpy", "flatbuffers", "tflite-micro")

    def check(self, model: KerasModel) -> list[str]:
        interpreter.check()
        return []

    def apply(self, model: TFLiteModel, task: TaskView, seed: int) -> TFLiteModel:  # type: ignore[override]
        codings = CODINGS if self.coding == "auto" else (self.coding,)
        content, coded = encoded(model.content, codings)  # type: ignore[arg-type]
        if not coded:
            note = "no int8 kernel becomes shorter by encoding, so the file is as it came: prune or cluster it before"
            return TFLiteModel(content, (*model.notes, f"encode: {note}."))
        before = interpreter.arena(model.content)
        after = interpreter.arena(content)
        self._prove(model.content, content, task, seed)
        task.record("encoded_kernels", len(coded))
        task.record("arena_bytes_before_encoding", before.total)
        kernels = len(contents.kernels(content))
        note = (
            f"encode: {len(coded)} of {kernels} kernels are encoded, so only TFLM runs the file; its arena has "
            f"{after.total:,} bytes, {before.total:,} without encoding."
        )
        return TFLiteModel(content, (*model.notes, note))

    def _prove(self, plain: bytes, content: bytes, task: TaskView, seed: int) -> None:
        same = all(
            np.array_equal(ours.values, theirs.values)
            for ours, theirs in zip(contents.kernels(content), contents.kernels(plain), strict=True)
        )
        chosen = np.random.default_rng(seed).permutation(len(task.train))[: self.proof]
        images, scale = task.train.images[chosen], task.task.input_scale
        ours, theirs = (interpreter.scores(file, images, scale) for file in (content, plain))
        if not (same and np.array_equal(ours, theirs)):
            raise ValueError(
                "encode: TFLM computes something else with the encoded file: this release of tflite-micro does "
                "not decode as expected; leave the stage out."
            )
