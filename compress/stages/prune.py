"""prune: set the smallest weights of each kernel to zero while fine-tuning the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import click
import numpy as np

from compress.findings import CannotTreat, Finding
from compress.keras_models.batchnorm import has_statistics, recalibrated
from compress.keras_models.layers import check_named, is_depthwise, layer_of
from compress.keras_models.model import KerasModel
from compress.pruning.magnitude import (
    drops_by_layer,
    drops_overall,
    in_random_order,
    lacking_zeros,
    ramp_steps,
    sparsity_ramps,
    without_smallest,
)
from compress.pruning.nm_pattern import Pattern, pattern_mask, pattern_violations, zeros_and_group
from compress.pruning.surgery import without_weights
from compress.stage import MAX_EPOCHS, Stage, option
from compress.tasks.view import TaskView
from compress.tfmot import bridge
from compress.training.recipe import Recipe
from compress.training_stage import FOUND_RATE, IMAGES, RATE, WEIGHT, TrainingStage
from compress.weight_sharing import cluster_ids, is_clustered

SPARSITY = 0.5


@dataclass(frozen=True, kw_only=True)
class Prune(TrainingStage):
    """Set the smallest weights of each kernel to zero, gradually during fine-tuning."""

    name: ClassVar = "prune"
    version: ClassVar = 3
    sparsity: float = option(
        SPARSITY,
        click.FloatRange(0, 1, max_open=True),
        "Fraction of the weights of each kernel to set to zero.",
    )
    pattern: str | None = option(
        None,
        Pattern(),
        "Pattern M:N, such as 2:4: M zeros in each N consecutive input channels; sets the sparsity.",
    )
    scope: str = option(
        "layer",
        click.Choice(["layer", "global"]),
        "Count the fraction in each kernel (layer), or over all pruned kernels together (global).",
    )
    criterion: str = option(
        "magnitude",
        click.Choice(["magnitude", "random"]),
        "Which weights to prune: the smallest, or, as a control, random ones, all at once before training.",
    )
    most_epochs: ClassVar = 45
    epochs: int | None = option(
        None,
        click.IntRange(0, MAX_EPOCHS),
        f"Epochs of training while pruning; if not given, {most_epochs}, or fewer for little data. 0 prunes at once, "
        "without training.",
    )
    learning_rate: float | None = option(None, RATE, FOUND_RATE)
    begin: float = option(
        0.0, click.FloatRange(0, 1), "When pruning begins, as a fraction of the training."
    )
    end: float = option(
        0.3, click.FloatRange(0, 1), "When all zeros are set, as a fraction of the training."
    )
    renew_statistics: bool = option(
        False,
        click.BOOL,
        "Recompute BatchNormalization statistics at the end, for short trainings or none.",
    )
    alpha: float | None = option(
        None,
        click.FloatRange(0, 1),
        f"Weight of the teacher in the loss; without --teacher, the dense model is the teacher. If not given: {WEIGHT} "
        "with --teacher or for little data, otherwise 0.",
    )
    skip: tuple[str, ...] = option((), str, "Name of a layer not to prune.")

    def __post_init__(self) -> None:
        TrainingStage.__post_init__(self)
        if self.begin >= self.end:
            raise ValueError(
                f"prune: option 'end': {self.end} is not after 'begin', {self.begin}; give a larger end."
            )
        if self.pattern:
            zeros, group = zeros_and_group(self.pattern)
            if self.sparsity not in (zeros / group, SPARSITY):
                raise ValueError(
                    f"prune: option 'sparsity': {self.sparsity} does not go with pattern {self.pattern}, "
                    f"which sets it to {zeros / group:.4g}; leave one of them out."
                )
            if self.scope == "global":
                raise ValueError(
                    f"prune: option 'scope': global does not go with pattern {self.pattern}, "
                    "which sets the zeros of every group; leave one of them out."
                )
            object.__setattr__(self, "sparsity", zeros / group)
        if self.criterion == "random" and (self.pattern or self.scope == "global"):
            text = "random goes with neither 'pattern' nor scope global; leave them out"
            raise ValueError(f"prune: option 'criterion': {text}.")

    def libraries(self) -> tuple[str, ...]:
        return (*Stage.libraries(self), "tf-keras", "tensorflow-model-optimization")

    def check(self, model: KerasModel) -> list[Finding]:
        shapes = {name: tuple(v.shape) for name, v in model.kernel_variables().items()}
        check_named(self.name, self.skip, map(layer_of, shapes), "with a kernel to skip")
        if not any(self._prunes(name, shape) for name, shape in shapes.items()):
            reasons = [
                f"{name}: {'skipped' if layer_of(name) in self.skip else self._why_dense(name, shape)}"
                for name, shape in shapes.items()
            ]
            shown = "; ".join([*reasons[:3], *(["..."] if reasons[3:] else [])])
            reason = f"can be pruned with these options ({shown})"
            way = "skip fewer layers, or choose another pattern"
            layers = tuple(dict.fromkeys(map(layer_of, shapes)))
            none = f"none of the model's {len(shapes)} kernels"
            raise CannotTreat(Finding(layers, reason, way, none), stage=self.name)
        self._drops(model)
        if self.renew_statistics and not has_statistics(model):
            option = "option 'renew_statistics': the model"
            finding = Finding((), "has no BatchNormalization", "leave it out", option)
            raise CannotTreat(finding, stage=self.name)
        if self.epochs != 0:
            bridge.check(model.keras)
        dense = [
            Finding(
                (layer_of(name),), f"left dense: {why}", subject=name, lasting=is_depthwise(name)
            )
            for name, shape in shapes.items()
            if layer_of(name) not in self.skip and (why := self._why_dense(name, shape))
        ]
        return [*dense, *TrainingStage.check(self, model)]

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        if self.epochs is None:
            return self.for_data(task).apply(model, task, seed)
        self.check(model)
        drops = self._drops(model)
        kernels = model.kernels()
        task = self.training_view(task, model)
        # Weights of a cluster share one magnitude, so a gradual schedule would drop all of them or none.
        first = {k: n for k, n in drops.items() if self._at_once or is_clustered(kernels[k])}
        ranked = in_random_order(kernels, seed) if self.criterion == "random" else kernels
        model = self._pruned_copy(model, first, ranked)
        if self.epochs:
            model = self._trained(model, drops, task, seed)
        # Prune again after training: tfmot keeps more weights than asked where magnitudes are equal.
        result = self._pruned_copy(model, drops)
        if self.renew_statistics:
            chosen = np.random.default_rng(seed).permutation(len(task.train))[:IMAGES]
            return recalibrated(result, task.train.images[chosen], task.task.input_scale)
        return self.with_fit_statistics(result, task, seed)

    def recipe(self, task: TaskView) -> Recipe:
        recipe = TrainingStage.recipe(self, task)
        if recipe.keep == "best" and not self._at_once:
            raise ValueError(
                "keep = 'best' may keep an epoch in which zeros are still missing: give --set keep=last."
            )
        return recipe

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        pruned = {name: w for name, w in kernels.items() if self._prunes(name, w.shape)}
        if self.pattern:
            return pattern_violations(pruned, self.pattern)
        return lacking_zeros(pruned, self.sparsity, together=self.scope == "global")

    @property
    def _at_once(self) -> bool:
        """True if all zeros are set before any training."""
        return bool(self.pattern) or self.epochs == 0 or self.criterion == "random"

    def _why_dense(self, name: str, shape: tuple[int, ...]) -> str:
        """The reason why a kernel that is not skipped is not pruned; empty if it is pruned."""
        if is_depthwise(name):
            return "depthwise kernels, a few weights for each channel, are not pruned"
        _, group = zeros_and_group(self.pattern) if self.pattern else (0, 1)
        if shape[-2] % group:
            return f"its {shape[-2]} input channels do not form groups of {group}"
        return ""

    def _prunes(self, name: str, shape: tuple[int, ...]) -> bool:
        return layer_of(name) not in self.skip and not self._why_dense(name, shape)

    def _drops(self, model: KerasModel) -> dict[str, int]:
        """Name of each pruned kernel -> how many of its weights become zero, including those that are zero already."""
        kernels = {k: w for k, w in model.kernels().items() if self._prunes(k, w.shape)}
        if self.scope == "layer":
            return drops_by_layer(kernels, self.sparsity)
        try:
            return drops_overall(kernels, self.sparsity)
        except ValueError as error:
            text = f"prune: option 'sparsity': {error} Give a smaller one."
            raise CannotTreat(Finding((), text)) from None

    def _mask(self, w: np.ndarray, drops: int) -> np.ndarray:
        """True for each weight to keep."""
        return pattern_mask(w, self.pattern) if self.pattern else without_smallest(w, drops)

    def _pruned_copy(
        self,
        model: KerasModel,
        drops: Mapping[str, int],
        ranked: Mapping[str, np.ndarray] | None = None,
    ) -> KerasModel:
        """A copy of `model` in which each kernel in `drops` has that many zeros, or the zeros of the pattern.

        The smallest weights become zero, or those where the array of the kernel in `ranked` is smallest.
        """
        ranked = ranked or model.kernels()
        return without_weights(model, {k: self._mask(ranked[k], n) for k, n in drops.items()})

    def _trained(
        self, model: KerasModel, drops: Mapping[str, int], task: TaskView, seed: int
    ) -> KerasModel:
        """A copy of `model`, fine-tuned while tfmot prunes it. Zeros and clusters are kept, also in skipped kernels."""
        kernels = model.kernels()
        twin = bridge.twin(model.keras, seed, {k: cluster_ids(w) for k, w in kernels.items()})
        images, epochs = len(task.training_data().shown), self.epochs or 0
        batch = min(self.recipe(task).batch_size, images)
        steps = ramp_steps(self.begin, self.end, epochs * (images // batch))
        at_once = self._pruned_copy(model, drops)
        ramp_ends = sparsity_ramps(kernels, at_once.kernels())
        ramps = {layer_of(k): bridge.PolynomialSchedule(*r, *steps) for k, r in ramp_ends.items()}
        wrapped, callbacks = bridge.with_pruning(twin, ramps)
        held = {k: cluster_ids(w) for k, w in at_once.kernels().items()}
        task.fit(
            wrapped,
            epochs=epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            untrained=bridge.twin(at_once.keras, seed, held),
            keras=bridge.tf_keras(),
            callbacks=callbacks,
        )
        return KerasModel(bridge.with_weights_of(bridge.without_pruning(wrapped), model.keras))
