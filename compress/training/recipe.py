"""Recipe: the settings of a training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training. Together with data, seed and architecture they decide the weights."""

    summary: str
    epochs: int
    learning_rate: float  # the highest one
    batch_size: int = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9  # sgd only, Nesterov
    schedule: Literal["constant", "plateau", "cosine"] = "constant"
    warmup: float = 0.0  # fraction of all steps, linear from zero; cosine only
    weight_decay: float = 0.0  # decoupled, on kernels only
    label_smoothing: float = 0.0
    dropout: float = 1.0  # multiplies the architecture's own rates
    flip: bool = False  # mirror half of the images
    crop: int = 0  # pixels of reflected border from which a crop of the old size is taken
    # Highest momentum per step of the averaged weights that are validated and kept; 0: none.
    weight_average: float = 0.0
    keep: Literal["last", "best"] = "last"  # "best": the epoch of highest validation accuracy

    def changed_fields(self) -> dict[str, Any]:
        """The fields that decide the weights and are not at their defaults; only they are in the key of a run."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name != "summary" and getattr(self, f.name) != f.default
        }
