"""TrainingData: the data of a training, and where it saves and reports. It knows no task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compress.data.dataset import Split
from compress.rows.result import TrainedOn
from compress.training.distillation import Distillation
from compress.training.precision import Precision
from compress.training.progress import Progress


@dataclass(frozen=True)
class TrainingData:
    """The splits of a training, the scale of their pixels, and where checkpoints and progress go."""

    train: Split
    validation: Split
    input_scale: float  # a model sees float32 pixel * input_scale
    checkpoints: Path | None  # folder of the checkpoint; None: none is saved
    progress: Progress
    deterministic: bool = False  # the same seed gives the same weights, bit for bit
    distillation: Distillation | None = None  # teachers to learn from, in addition to labels
    answers: Path | None = None  # folder of teachers' answers to views; None: they stay in memory
    precision: Precision = "float32"  # of the computation; weights are always float32
    train_on: TrainedOn = "train"
    answered_in: Precision | None = None  # precision that teachers compute in; None: `precision`

    @cached_property
    def shown(self) -> Split:
        """The images that `fit` trains on. The learning-rate search before it trains on `train` alone."""
        return self.train if self.train_on == "train" else self.train.with_more(self.validation)
