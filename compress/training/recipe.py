"""Recipe: the settings of a training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from compress.rows.field_check import AtLeastOne, Between, Count, Fraction, NotNegative
from compress.training.param_groups import ParamGroup


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training. Together with data, seed and architecture they decide the weights.

    The ranges are those of `compress --set`, see `recipe_settings`.
    """

    summary: str
    epochs: Count
    learning_rate: NotNegative  # the highest rate
    batch_size: AtLeastOne = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: Fraction = 0.9  # sgd only, Nesterov
    schedule: Literal["constant", "plateau", "cosine", "triangular"] = "constant"
    # Fraction of all steps in which the rate rises linearly to the highest. Cosine (from zero) and triangular only.
    warmup: Annotated[float, Between(0, 0.9)] = 0.0
    # Triangular only: rates of the first step and of the step after the last, as fractions of the highest.
    start: Fraction = 0.0
    end: Fraction = 0.0
    weight_decay: NotNegative = 0.0  # decoupled, on kernels only
    # Each variable is in the first group whose `end` is a suffix of its path. sgd only, in PyTorch's form.
    param_groups: tuple[ParamGroup, ...] = ()
    label_smoothing: Fraction = 0.0
    dropout: NotNegative = 1.0  # multiplies the architecture's own dropout rates
    flip: bool = False  # mirror a random half of the images, drawn anew in every epoch
    alternating_flip: bool = False  # mirror a random half, then in the next epoch the other
    # Pixels of reflected border around an image, from which a random crop of the original size is taken.
    crop: Annotated[int, Between(0, 1000)] = 0
    # Use flip and crop if the incoming model of a stage shows that they do no harm: see `augmentation`.
    find_augmentation: bool = False
    # Alpha of Beta(alpha, alpha), from which mixup draws the share of each image in a mixed pair; 0: no mixup.
    mixup: Annotated[float, Between(0, 100)] = 0.0
    mixup_until: Fraction = 0.85  # fraction of the epochs after which images are no longer mixed
    # Augmented views of each image, one per epoch in turn; 0: each epoch draws new augmentations.
    views: Annotated[int, Between(0, 10_000)] = 0
    # Highest momentum per step of the weight averages, which are validated and kept; 0: no averages.
    weight_average: Fraction = 0.0
    keep: Literal["last", "best"] = "last"  # "best": the epoch with the highest validation accuracy

    def __post_init__(self) -> None:
        if self.param_groups and (self.optimizer != "sgd" or self.weight_decay):
            raise ValueError(
                f"recipe {self.summary!r}: parameter groups need sgd, and each has an l2 in place of weight_decay."
            )
        if self.schedule == "triangular" and not self.warmup:
            raise ValueError(
                f"recipe {self.summary!r}: a triangular schedule has a warmup above 0."
            )
        if self.alternating_flip and (self.flip or self.views):
            raise ValueError(
                f"recipe {self.summary!r}: alternating_flip goes with neither flip nor views; set one of them."
            )
        if self.mixup and self.views == 1:
            raise ValueError(
                f"recipe {self.summary!r}: mixup mixes every second view, so it mixes nothing with one view: "
                "give 2 or more views, or mixup 0."
            )

    def changed_fields(self) -> dict[str, Any]:
        """The fields that decide the weights and are not at their defaults. Only these are in the key of a run."""
        changed = _changed(self)
        changed.pop("summary", None)
        return changed

    def mixes_in(self, epoch: int) -> bool:
        """True if images are mixed in epoch `epoch`, counted from 0."""
        return self.mixup > 0 and epoch < round(self.mixup_until * self.epochs)


def _changed(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults. Dataclasses in a tuple are treated in the same way."""
    found = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            found[field.name] = [_changed(v) for v in value] if isinstance(value, tuple) else value
    return found
