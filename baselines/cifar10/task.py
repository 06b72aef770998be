"""The task this toolkit is built around: CIFAR-10 and its 118,258-parameter CNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from baselines.cifar10.networks.airbench import Airbench
from baselines.cifar10.networks.plain import Plain
from baselines.cifar10.networks.plain import build as build_cnn
from baselines.cifar10.networks.resnet import ResNet
from baselines.cifar10.recipes import FINETUNING, RECIPES
from compress.data.dataset import Dataset, Note
from compress.tasks.network import Network
from compress.tasks.task import Task
from compress.training.recipe import Recipe

HERE = Path(str(files("baselines")))


class Cifar10(Task):
    """Ten classes of 32x32 color photographs: 42,500 for training, 7,500 for validation, 10,000 for test."""

    name: ClassVar[str] = "cifar10"
    input_shape: ClassVar[tuple[int, int, int]] = (32, 32, 3)
    version: ClassVar[int] = 1  # raise it when the splits or what `build` gives change

    def load(self, path: Path | None, note: Note) -> Dataset:
        """See `find.load`."""
        from baselines.cifar10.find import load

        return load(path, note)

    def sources(self, path: Path | None) -> Sequence[Path] | None:
        """See `find.sources`."""
        from baselines.cifar10.find import sources

        return sources(path)

    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        """See `plain.build`."""
        return build_cnn(width=width, dropout=dropout)

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """How to train the CNN from scratch; the first is the default."""
        return RECIPES

    @property
    def networks(self) -> Mapping[str, Network]:
        """The baseline CNN, smaller and more accurate residual networks, and a teacher network for them."""
        return {network.name: network for network in (Plain(), ResNet(), Airbench())}

    @property
    def finetuning(self) -> Recipe:
        """How stages fine-tune the CNN."""
        return FINETUNING

    def baseline_path(self) -> Path | None:
        """The CNN trained on the full training split; None if this copy of the package does not have it."""
        path = HERE / "trained" / "baseline.keras"
        return path if path.exists() else None

    def references(self) -> Sequence[Path]:
        """The figures published for this CNN, and results that others published for other networks."""
        return [HERE / "references" / name for name in ("published.csv", "field.csv")]
