"""TrainingData: what a training is fed with, and who is told of it; it knows no task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.data.dataset import Split
from compress.training.distillation import Distillation
from compress.training.progress import Progress


@dataclass(frozen=True)
class TrainingData:
    """The splits of a training, how a model sees their pixels, and where it is kept."""

    train: Split
    validation: Split
    input_scale: float  # a model sees float32 pixel * input_scale
    checkpoints: Path | None  # folder for what the next epoch depends on; None: kept nowhere
    progress: Progress
    deterministic: bool = False  # the same seed gives the same weights, bit for bit
    teaching: Distillation | None = None  # what is learned besides labels
