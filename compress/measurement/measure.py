"""Measurement of an exported file on images, one small function per number. Nothing else measures on test images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compress.data.dataset import Dataset
from compress.measurement import predictions
from compress.measurement.on_micro import accuracy_on_micro, on_micro
from compress.measurement.predictions import Predictions
from compress.measurement.scores import (
    cross_entropy,
    is_correct,
    log_of_probabilities,
    log_softmax,
    top1,
)
from compress.micro import interpreter as micro_interpreter
from compress.rows import bits
from compress.rows.measurement import RUNS, MeasuredOn, Measurement
from compress.statistics.significance import wilson_interval
from compress.tflite import contents, interpreter, ledger
from compress.tflite.graph import Graph
from compress.tflite.model import TFLiteModel


def measure(
    model: TFLiteModel,
    dataset: Dataset,
    input_scale: float,
    progress: Callable[[int], None] | None = None,
    on: MeasuredOn = "test",
    micro_accuracy: bool = False,
) -> tuple[Measurement, Predictions]:
    """Every measured number of a row, and the file's prediction for each image.

    Args:
      input_scale: of the task; the model sees float32 pixel * input_scale.
      progress: is called with the number of images done so far.
      on: the split that is measured. The test images are opened only for "test".
      micro_accuracy: also run all images with TFLM, if it runs the file. This takes longer than LiteRT.

    Raises:
      ValueError: the file is damaged, does not fit the data, or gives scores that are not numbers; or tflite-micro is
        not installed and `micro_accuracy` is asked for.
    """
    if micro_accuracy:
        micro_interpreter.check()
    graph = model.graph
    stored = contents.stored_in(graph)
    sparsity = contents.sparsity(stored)
    split = dataset.open_test() if on == "test" else dataset.validation
    check_fits(graph, split.images.shape[1:], len(dataset.classes))
    scores = predict(model, split.images, input_scale, progress)
    softmax = contents.ends_in_softmax(graph)
    log_probabilities = log_of_probabilities(scores) if softmax else log_softmax(scores)
    correct = is_correct(scores, split.labels)
    micro = on_micro(model)
    if graph.encoded:
        micro["micro_top1"] = top1(scores, split.labels)
    elif micro_accuracy and micro["on_micro"] == RUNS:
        micro |= accuracy_on_micro(model, split, input_scale, scores, progress)
    low, high = wilson_interval(int(correct.sum()), len(correct))
    measured = Measurement(
        top1=top1(scores, split.labels),
        top1_low=low,
        top1_high=high,
        cross_entropy=cross_entropy(log_probabilities, split.labels),
        test_images=len(split),
        correct=bits.pack_bits(correct),
        stored_params=contents.stored_params(stored),
        nonzero_params=contents.nonzero_params(stored),
        sparsity=sparsity,
        kernel_sparsity=contents.kernel_sparsity(stored),
        macs=sum(operator.macs for operator in graph.operators),
        file_bytes=len(model.content),
        gzip_bytes=ledger.gzip_bytes(model.content),
        weight_types=contents.weight_types(stored),
        file_parts=ledger.file_parts(model),
        coded_bytes=ledger.coded_bytes(model, stored),
        zstd_bytes=ledger.zstd_bytes(model.content),
        weight_coding=ledger.weight_coding(stored),
        tflite_digest=model.digest,
        measured_on=on,
        **micro,
    )
    return measured, predictions.from_scores(scores, log_probabilities, split.labels)


def digest_of_test(dataset: Dataset) -> str:
    """SHA-256, in hex, of the test split, for the row."""
    return dataset.open_test().digest


def predict(
    model: TFLiteModel,
    images: np.ndarray,
    input_scale: float,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The scores that the file gives, one image at a time, as on a device.

    Args:
      images: uint8 [n, h, w, c], or float32 features.

    Returns:
      float32 [n, classes], all finite.

    Raises:
      ValueError: the file does not take such images, or gives scores that are not finite.
    """
    check_fits(model.graph, images.shape[1:], None)
    # Only TFLM decodes encoded weights.
    run = micro_interpreter.scores if model.graph.encoded else interpreter.scores_apart
    scores = run(model.content, images, input_scale, progress or (lambda done: None))
    not_finite = int((~np.isfinite(scores)).any(axis=1).sum())
    if not_finite:
        raise ValueError(
            f"the model gives NaN or infinite scores for {not_finite:,} of {len(images):,} images: "
            "its training may have diverged."
        )
    return scores


def check_fits(graph: Graph, image_shape: tuple[int, ...], classes: int | None) -> None:
    """Raise ValueError if a file does not take such images or does not give one score per class.

    Args:
      image_shape: [h, w, c].
      classes: None if any number will do.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(
            f"the TFLite file has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs: "
            "give one that takes an image and gives a score per class."
        )
    (image,), (scores,) = graph.inputs, graph.outputs
    if image.shape[1:] != image_shape:
        raise ValueError(
            f"the TFLite file takes images of {_shape_text(image.shape[1:])}, the data has {_shape_text(image_shape)}: "
            "give a file made for these images."
        )
    if image.shape[0] != 1 or len(scores.shape) != 2:
        raise ValueError(
            f"the TFLite file takes {_shape_text(image.shape)} and gives {_shape_text(scores.shape)}: "
            "export it to take one image and give a score per class."
        )
    if classes is not None and scores.shape[1] != classes:
        raise ValueError(
            f"the TFLite file gives scores of {scores.shape[1]} classes, the data has {classes}: "
            "give a file made for these classes."
        )


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "no size"
