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
    learning_rate: NotNegative  # the highest one
    batch_size: AtLeastOne = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: Fraction = 0.9  # sgd only, Nesterov
    schedule: Literal["constant", "plateau", "cosine", "triangular"] = "constant"
    # Fraction of all steps, linear to the highest rate; cosine, from zero, and triangular.
    warmup: Annotated[float, Between(0, 0.9)] = 0.0
    # Triangular only: rates of the first step and after the last, as fractions of the highest.
    start: Fraction = 0.0
    end: Fraction = 0.0
    weight_decay: NotNegative = 0.0  # decoupled, on kernels only
    # Each variable is in the first group that its path ends with. sgd only, and then PyTorch's form of it.
    param_groups: tuple[ParamGroup, ...] = ()
    label_smoothing: Fraction = 0.0
    dropout: NotNegative = 1.0  # multiplies the architecture's own rates
    flip: bool = False  # mirror half of the images, by chance in every epoch
    alternating_flip: bool = False  # mirror a random half, in the next epoch the other, and so on
    # Pixels of reflected border from which a crop of the old size is taken.
    crop: Annotated[int, Between(0, 1000)] = 0
    # Flip and crop where the model that comes into a stage shows that they do no harm: see `augmentation`.
    find_augmentation: bool = False
    # Alpha of Beta(alpha, alpha), from which the share of each image is drawn when two are mixed; 0: none are.
    mixup: Annotated[float, Between(0, 100)] = 0.0
    mixup_until: Fraction = 0.85  # fraction of the epochs after which images are mixed no more
    # Augmented views of each image, shown in turn, an epoch each; 0: each epoch has new ones.
    views: Annotated[int, Between(0, 10_000)] = 0
    # Highest momentum per step of the averaged weights that are validated and kept; 0: none.
    weight_average: Fraction = 0.0
    keep: Literal["last", "best"] = "last"  # "best": the epoch of highest validation accuracy

    def __post_init__(self) -> None:
        if self.param_groups and (self.optimizer != "sgd" or self.weight_decay):
            raise ValueError(
                f"recipe {self.summary!r}: parameter groups are of sgd, and each has an l2 in place of weight_decay."
            )
        if self.schedule == "triangular" and not self.warmup:
            raise ValueError(
                f"recipe {self.summary!r}: a triangular schedule has a warmup above 0."
            )
        if self.alternating_flip and (self.flip or self.views):
            raise ValueError(
                f"recipe {self.summary!r}: alternating_flip goes with neither flip nor views; set one of them."
            )

    def changed_fields(self) -> dict[str, Any]:
        """The fields that decide the weights and are not at their defaults; only they are in the key of a run."""
        changed = _changed(self)
        changed.pop("summary", None)
        return changed

    def mixes_in(self, epoch: int) -> bool:
        """Whether images are mixed in epoch `epoch`, counted from 0."""
        return self.mixup > 0 and epoch < round(self.mixup_until * self.epochs)


def _changed(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults, those of dataclasses in a tuple likewise."""
    found = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            found[field.name] = [_changed(v) for v in value] if isinstance(value, tuple) else value
    return found
