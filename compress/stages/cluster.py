"""cluster: make the weights of each kernel share a few values, and fine-tune these values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import click
import numpy as np

from compress.clustering.kmeans import INITIALIZATIONS, centroids_of
from compress.findings import CannotTreat, Finding
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import check_named, is_depthwise, layer_of
from compress.keras_models.model import KerasModel
from compress.stage import MAX_EPOCHS, Stage, option
from compress.tasks.view import TaskView
from compress.tfmot import bridge
from compress.tfmot import clustering as tfmot_clustering
from compress.training_stage import FOUND_RATE, RATE, TrainingStage
from compress.weight_sharing import MAX_VALUES, cluster_ids, distinct, distinct_per_channel, nearest


@dataclass(frozen=True, kw_only=True)
class Cluster(TrainingStage):
    """Make the weights of each kernel share a few values, and fine-tune these values."""

    name: ClassVar = "cluster"
    version: ClassVar = 2
    clusters: int = option(
        16,
        click.IntRange(2, MAX_VALUES),
        "Number of values, besides zero, that the weights of a kernel share.",
    )
    initialization: str = option(
        INITIALIZATIONS[0],
        click.Choice(INITIALIZATIONS),
        "How to choose the initial values.",
    )
    per_channel: bool = option(
        False, click.BOOL, "Give each output channel of a Conv2D its own values."
    )
    epochs: int = option(
        12,
        click.IntRange(0, MAX_EPOCHS),
        "Epochs of training with clustered weights; 0 clusters without training.",
    )
    learning_rate: float | None = option(None, RATE, FOUND_RATE)
    skip: tuple[str, ...] = option((), str, "Name of a layer not to cluster.")

    def libraries(self) -> tuple[str, ...]:
        return (*Stage.libraries(self), "tf-keras", "tensorflow-model-optimization")

    def check(self, model: KerasModel) -> list[Finding]:
        shapes = {name: tuple(v.shape) for name, v in model.kernel_variables().items()}
        check_named(self.name, self.skip, map(layer_of, shapes), "with a kernel to skip")
        if not any(self._clusters(name, shape) for name, shape in shapes.items()):
            layers = tuple(dict.fromkeys(map(layer_of, shapes)))
            reason = "can be clustered with these options"
            way = "skip fewer layers, or give fewer clusters"
            none = f"none of the model's {len(shapes)} kernels"
            raise CannotTreat(Finding(layers, reason, way, none), stage=self.name)
        if self.epochs:
            bridge.check(model.keras)
        findings = []
        for name, shape in shapes.items():
            layer = layer_of(name)
            if layer in self.skip:
                continue
            if why := self._why_free(name, shape):
                lasting = is_depthwise(name)
                reason = f"left as it is: {why}"
                findings.append(Finding((layer,), reason, subject=name, lasting=lasting))
            elif self.per_channel and not self._by_channel(name, model):
                reason = (
                    f"share their values: only a Conv2D whose channels have at least {2 * self.clusters} weights each "
                    f"can have {self.clusters} values per channel"
                )
                findings.append(Finding((layer,), reason, subject=f"the channels of {name}"))
        return [*findings, *TrainingStage.check(self, model)]

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        self.check(model)
        if not self.epochs:
            return self._at_once(model, list(model.kernels()), seed)
        # tfmot refuses frozen layers, so they are clustered first. Training the other layers reduces the error.
        frozen = [n for n in model.kernels() if not model.keras.get_layer(layer_of(n)).trainable]
        task = self.training_view(task, model)
        trained = self._trained(self._at_once(model, frozen, seed), task, seed)
        return self.with_fit_statistics(trained, task, seed)

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        return [
            f"{name} has {most} distinct non-zero values in an output channel, expected at most {self.clusters}"
            for name, w in kernels.items()
            if self._clusters(name, w.shape)
            and (most := _most_values(w, self.clusters)) > self.clusters
        ]

    def _why_free(self, name: str, shape: tuple[int, ...]) -> str:
        """The reason why a kernel that is not skipped is not clustered; empty if it is clustered."""
        if is_depthwise(name):
            return "depthwise kernels, a few weights for each channel, are not clustered"
        size = int(np.prod(shape))
        if size < 2 * self.clusters:
            return f"its {size} weights are too few to share {self.clusters} values"
        return ""

    def _clusters(self, name: str, shape: tuple[int, ...]) -> bool:
        return layer_of(name) not in self.skip and not self._why_free(name, shape)

    def _by_channel(self, name: str, model: KerasModel) -> bool:
        """True if each output channel of a kernel has its own values."""
        shape = model.kernel_variables()[name].shape
        can = kind_of(model.keras.get_layer(layer_of(name))).clusters_by_channel
        return self.per_channel and can and np.prod(shape[:-1]) >= 2 * self.clusters

    def _to_be_clustered(self, model: KerasModel) -> dict[str, np.ndarray]:
        """The kernels that have more values than asked for, by name."""
        return {
            name: w
            for name, w in model.kernels().items()
            if self._clusters(name, w.shape) and self._values(name, w, model) > self.clusters
        }

    def _values(self, name: str, w: np.ndarray, model: KerasModel) -> int:
        return int(distinct_per_channel(w).max()) if self._by_channel(name, model) else distinct(w)

    def _centroids(self, name: str, w: np.ndarray, model: KerasModel, seed: int) -> np.ndarray:
        """The initial centroids of a kernel: [k], or [o, k] if each output channel has its own."""
        if not self._by_channel(name, model):
            return centroids_of(w, self.clusters, self.initialization, seed)
        channels = np.moveaxis(w, -1, 0)
        return np.stack(
            [centroids_of(c, self.clusters, self.initialization, seed) for c in channels]
        )

    def _at_once(self, model: KerasModel, kernels: Sequence[str], seed: int) -> KerasModel:
        """A copy of `model` in which each weight of those kernels is set to its nearest initial centroid."""
        copy = model.copy()
        variables = copy.kernel_variables()
        for name, w in self._to_be_clustered(model).items():
            if name not in kernels:
                continue
            table = self._centroids(name, w, model, seed)
            if table.ndim == 1:
                placed = nearest(w, table)
            else:
                channels = zip(np.moveaxis(w, -1, 0), table, strict=True)
                placed = np.stack([nearest(c, row) for c, row in channels], axis=-1)
            variables[name].assign(placed)
        return copy

    def _trained(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        """A copy of `model`, fine-tuned while tfmot clusters it. Zeros, and clusters of other kernels, are kept."""
        kernels, chosen = model.kernels(), self._to_be_clustered(model)
        held = {n: cluster_ids(w) for n, w in kernels.items() if n not in chosen}
        tables = {}
        for name, w in chosen.items():
            table = self._centroids(name, w, model, seed)
            tables[layer_of(name)] = table if w.all() else np.insert(table, 0, 0, axis=-1)
        twin = bridge.twin(model.keras, seed, held)
        clustering = tfmot_clustering.with_clustering(twin, tables)
        task.fit(
            clustering,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            keras=bridge.tf_keras(),
        )
        return KerasModel(tfmot_clustering.with_clustered_weights_of(clustering, model.keras))


def _most_values(w: np.ndarray, clusters: int) -> int:
    """The most distinct values in one output channel, which is the next to last axis of a Conv2DTranspose."""
    # The next to last axis is skipped if its slices have too few weights to break the promise.
    axes = (-1, -2) if w.ndim == 4 and w.size // w.shape[-2] > clusters else (-1,)
    return min(int(distinct_per_channel(w, axis).max()) for axis in axes)
