"""A stage by a third party: the complete code that a plugin needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import click
import numpy as np

from compress.keras_models.model import KerasModel
from compress.stage import Stage, option
from compress.tasks.view import TaskView


def rounded(kernel: np.ndarray, digits: int) -> np.ndarray:
    """Each weight to so many decimal digits; zero stays zero."""
    return np.round(kernel, digits)


@dataclass(frozen=True, kw_only=True)
class Round(Stage):
    """Round the weights of every kernel to a few decimal digits."""

    name: ClassVar = "round"
    digits: int = option(2, click.IntRange(0, 6), "Decimal digits that stay.")

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        result = model.copy()
        for variable in result.kernel_variables().values():
            variable.assign(rounded(np.array(variable), self.digits))
        return result
