"""prune: zero the smallest weights of every kernel while training the rest on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import click
import numpy as np

from compress import tfmot_bridge
from compress.layers import is_depthwise, layer_of
from compress.model import KerasModel
from compress.pattern import Pattern, broken_groups, pattern_mask, zeros_and_group
from compress.stage import Stage, option
from compress.task import TaskView

# Masks made on the way to full sparsity. More of them change nothing that was seen and cost a sort of each kernel.
UPDATES = 25
SPARSITY = 0.5


def magnitude_mask(w: np.ndarray, sparsity: float) -> np.ndarray:
    """Which weights to keep so that `round(sparsity * w.size)` of them, the smallest by magnitude, are dropped.

    Args:
      w: any shape. Of equal magnitudes the earlier in memory order are dropped first.
      sparsity: in [0, 1]. 0 keeps all, 1 keeps none.

    Returns:
      bool, shape of `w`.

    >>> magnitude_mask(np.array([3.0, -1.0, 2.0, -4.0]), 0.5)
    array([ True, False, False,  True])
    """
    mask = np.ones(w.size, dtype=bool)
    # Stable sort: with ties, the same weights go on every machine.
    mask[np.argsort(np.abs(w), axis=None, kind="stable")[: round(sparsity * w.size)]] = False
    return mask.reshape(w.shape)


def ramp_steps(begin: float, end: float, total: int) -> tuple[int, int, int]:
    """First step, last step and frequency of mask updates, such that the last step is an update.

    Args:
      begin, end: fractions of the training, begin < end.
      total: steps of the training, at least 1; the first is number 1.

    Returns:
      begin_step, end_step, frequency with begin_step < end_step <= total and frequency dividing their difference:
      tfmot updates only at multiples of the frequency, and would else stop below the sparsity asked for.

    >>> ramp_steps(0.0, 0.4, total=664)
    (0, 260, 10)
    >>> ramp_steps(0.0, 0.4, total=1)
    (0, 1, 1)
    """
    first = min(round(begin * total), total - 1)
    last = max(round(end * total), first + 1)
    frequency = max(1, (last - first) // UPDATES)
    return first, last - (last - first) % frequency, frequency


@dataclass(frozen=True, kw_only=True)
class Prune(Stage):
    """Set the smallest weights of every kernel to zero, step by step while training on."""

    name: ClassVar = "prune"
    sparsity: float = option(
        SPARSITY,
        click.FloatRange(0, 1, max_open=True),
        "Fraction of each kernel's weights set to zero.",
    )
    pattern: str | None = option(
        None,
        Pattern(),
        "M zeros in each N consecutive input channels, e.g. 2:4; sets the sparsity.",
    )
    epochs: int = option(
        18,
        click.IntRange(min=0),
        "Epochs of training while pruning; 0 prunes at once and trains nothing.",
    )
    learning_rate: float = option(
        0.03, click.FloatRange(0, min_open=True), "Highest learning rate of that training."
    )
    begin: float = option(
        0.0, click.FloatRange(0, 1), "When zeros begin to be set, as a fraction of the training."
    )
    end: float = option(
        0.3, click.FloatRange(0, 1), "When all zeros are set, as a fraction of the training."
    )
    skip: tuple[str, ...] = option((), str, "Name of a layer to leave as it is.")

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
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
            object.__setattr__(self, "sparsity", zeros / group)

    def check(self, model: KerasModel) -> list[str]:
        shapes = {name: tuple(v.shape) for name, v in model.kernel_variables().items()}
        known = {layer_of(name) for name in shapes}
        for layer in self.skip:
            if layer not in known:
                near = difflib.get_close_matches(layer, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"choose of {sorted(known)}."
                raise ValueError(f"prune: no layer '{layer}' with a kernel to skip; {hint}")
        if not any(self._prunes(name, shape) for name, shape in shapes.items()):
            raise ValueError(
                f"prune: none of the model's {len(shapes)} kernels can be pruned with these options; "
                "skip fewer layers, or choose another pattern."
            )
        if self.epochs:
            tfmot_bridge.check(model.keras)
        return [
            f"prune: {name} left dense: {why}"
            for name, shape in shapes.items()
            if layer_of(name) not in self.skip and (why := self._why_dense(name, shape))
        ]

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        self.check(model)
        if self.pattern or not self.epochs:
            model = self._cut(model)
        if self.epochs:
            model = self._trained(model, task, seed)
        # What training has left is cut again, as tfmot keeps more than asked where magnitudes are equal.
        return self._cut(model)

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        broken = []
        for name, w in kernels.items():
            if not self._prunes(name, w.shape):
                continue
            if self.pattern:
                broken_here, groups = broken_groups(w, self.pattern)
                if broken_here:
                    broken.append(
                        f"{name} breaks pattern {self.pattern} in {broken_here} of {groups} groups"
                    )
            elif np.sum(w == 0) < round(self.sparsity * w.size):
                broken.append(
                    f"{name} has {np.sum(w == 0)} zeros in {w.size} weights, "
                    f"expected {round(self.sparsity * w.size)}"
                )
        return broken

    def _why_dense(self, name: str, shape: tuple[int, ...]) -> str:
        """Why a kernel that is not skipped is not pruned, a sentence; empty if it is pruned."""
        if is_depthwise(name):
            return "depthwise kernels, a few weights for each channel, are not pruned."
        _, group = zeros_and_group(self.pattern) if self.pattern else (0, 1)
        if shape[-2] % group:
            return f"its {shape[-2]} input channels do not form groups of {group}."
        return ""

    def _prunes(self, name: str, shape: tuple[int, ...]) -> bool:
        return layer_of(name) not in self.skip and not self._why_dense(name, shape)

    def _mask(self, w: np.ndarray) -> np.ndarray:
        """Which weights to keep. Those that are zero already count among the dropped, being the smallest."""
        if self.pattern:
            return pattern_mask(w, self.pattern)
        return magnitude_mask(w, self.sparsity)

    def _cut(self, model: KerasModel) -> KerasModel:
        """A copy of `model` as sparse as promised."""
        copy = model.copy()
        variables = copy.kernel_variables()
        for name, w in model.kernels().items():
            if self._prunes(name, w.shape):
                variables[name].assign(np.where(self._mask(w), w, np.float32(0)))
        return copy

    def _trained(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        """A copy of `model`, trained on while tfmot prunes it; weights that are zero now stay so, skipped or not."""
        kernels = model.kernels()
        twin = tfmot_bridge.twin(model.keras, seed, {k: w == 0 for k, w in kernels.items()})
        batch = min(task.task.finetuning.batch_size, len(task.train))
        steps = ramp_steps(self.begin, self.end, self.epochs * (len(task.train) // batch))
        ramps = {}
        for name, w in kernels.items():
            before = int(np.sum(w == 0))
            after = int(np.sum(~self._mask(w))) if self._prunes(name, w.shape) else before
            if after > before:
                # A quarter of a weight less: rounding in tfmot's float32 must not drop one more than asked.
                ramp = tfmot_bridge.Ramp(before / w.size, (after - 0.25) / w.size, *steps)
                ramps[layer_of(name)] = ramp
        wrapped, callbacks = tfmot_bridge.with_pruning(twin, ramps)
        task.fit(
            wrapped,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            keras=tfmot_bridge.tf_keras(),
            callbacks=callbacks,
        )
        return KerasModel(
            tfmot_bridge.bring_home(tfmot_bridge.without_pruning(wrapped), model.keras)
        )
