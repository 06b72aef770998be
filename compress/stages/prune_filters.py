"""prune-filters: remove the least important filters of a model, and fine-tune the smaller and faster model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import click
import numpy as np

from compress import backend
from compress.findings import CannotTreat, Finding
from compress.keras_models.layers import check_named
from compress.keras_models.model import KerasModel
from compress.pruning import importance, surgery
from compress.pruning.dependency_graph import FilterGroups, build_dependency_graph
from compress.pruning.selection import (
    Candidates,
    Cost,
    Scope,
    candidates,
    choose,
    fewest,
    least_cost,
)
from compress.stage import MAX_EPOCHS, option
from compress.tasks.view import TaskView
from compress.training.seeding import set_seed
from compress.training_stage import FOUND_RATE, RATE, TrainingStage
from compress.typed_options import Amount

SHARE = click.FloatRange(0, 1, max_open=True)
MACS = 0.5
TAYLOR_IMAGES = 2048
SHARES = {"macs": "multiply-accumulates", "params": "parameters", "filters": "filters"}
# Targets that the run measures. It replaces them by the macs that reach them.
FIGURES = ("flash", "arena", "latency")
THOUSANDTHS = 1000  # of the multiply-accumulates: the step of the search for a figure


@dataclass(frozen=True, kw_only=True)
class PruneFilters(TrainingStage):
    """Remove the least important filters, and fine-tune the smaller and faster model."""

    name: ClassVar = "prune-filters"
    version: ClassVar = 2
    keeps_architecture: ClassVar = False
    outlines_exactly: ClassVar = False
    macs: float | None = option(
        None, SHARE, f"Fraction of multiply-accumulates to save; {MACS} if no target is given."
    )
    params: float | None = option(None, SHARE, "Instead of --macs: fraction of parameters to save.")
    filters: float | None = option(None, SHARE, "Instead of --macs: fraction of filters to remove.")
    flash: int | None = option(
        None,
        Amount(),
        "Instead of --macs: maximum bytes of the file that a later stage writes, or of the int8 file if there is none, "
        "such as 64KB; measured once before the run.",
    )
    arena: int | None = option(
        None,
        Amount(),
        "Instead of --macs: maximum bytes of memory for the int8 file in TFLM, measured once before the run.",
    )
    latency: float | None = option(
        None,
        click.FloatRange(0, 1, min_open=True, max_open=True),
        "Instead of --macs: maximum time for one image, as a fraction of the incoming model's time; measured on this "
        "machine once before the run.",
    )
    criterion: str = option(
        "taylor",
        click.Choice(["taylor", "l1", "l2", "batchnorm", "random"]),
        "How to score the importance of a filter; random is a control. See the page of this stage.",
    )
    scope: str = option(
        "global",
        click.Choice(["global", "layer"]),
        "Compare the filters of all layers (global), or remove the same fraction from each layer (layer).",
    )
    round_to: int | None = option(
        None,
        click.IntRange(1, 1_000),
        "Keep a multiple of this many filters; if not given, a multiple of 8, or of less in narrow layers.",
    )
    skip: tuple[str, ...] = option((), str, "Name of a layer that keeps all its filters.")
    epochs: int = option(
        60, click.IntRange(0, MAX_EPOCHS), "Epochs of training after the removal; 0 trains nothing."
    )
    learning_rate: float | None = option(None, RATE, FOUND_RATE)

    def __post_init__(self) -> None:
        TrainingStage.__post_init__(self)
        if not self.alpha and not self.teacher:
            object.__setattr__(self, "alpha", None)  # 0, the former default, has no key of its own
        given = [n for n in (*SHARES, *FIGURES) if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(
                f"prune-filters: option '{given[1]}' does not go with '{given[0]}': give one target."
            )
        if not given:
            object.__setattr__(self, "macs", MACS)

    def check(self, model: KerasModel) -> list[Finding]:
        groups = self._filter_groups(model)
        scores = np.ones(groups.units)
        if self.criterion == "batchnorm":
            scores = importance.batchnorm_gamma_scores(model, groups)
        ordered = self._ordered(groups, scores)
        target, cost = self._target(model, groups)
        least = least_cost(ordered, groups.units, cost)
        scaled = "stays whole: no BatchNormalization scales its filters"
        findings = groups.reasons() | {
            name: Finding(groups.makers_of(units), scaled, subject=name)
            for name, units in groups.groups().items()
            if np.isnan(scores[units]).any()
        }
        if not ordered or least > target:
            whole = cost(np.ones(groups.units, dtype=bool))
            layers = dict.fromkeys(name for f in findings.values() for name in f.layers)
            because = "".join(f", {finding.clause}" for finding in findings.values())
            way = "ask for less, skip fewer layers, or set another --round-to or --criterion"
            share = 1 - least / whole if whole else 0.0  # a model without kernels has none
            most = f"at most {share:.1%} of the {SHARES[self._target_name]} of this model"
            finding = Finding(tuple(layers), f"can go{because}", way, most)
            raise CannotTreat(finding, stage=self.name)
        if self.criterion == "taylor" and len(model.keras.outputs) > 1:
            reason = f"needs a model with one output, this one has {len(model.keras.outputs)}"
            raise CannotTreat(Finding((), reason, "use l2", "criterion taylor"), stage=self.name)
        return [*findings.values(), *TrainingStage.check(self, model)]

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        if name := self.asked_figure():
            raise ValueError(
                f"{self.name}: option '{name}': a run measures it, and gives macs instead: run the stage with "
                "compress.run, or give another target."
            )
        self.check(model)
        groups = self._filter_groups(model)
        result = self._smaller(model, groups, self._scores(model, groups, task, seed))
        if self.epochs:
            result = result.trainable_copy()
            task = self.training_view(task, model)
            task.fit(result.keras, epochs=self.epochs, learning_rate=self.learning_rate, seed=seed)
            result = self.with_fit_statistics(result, task, seed)
        return result

    def outline(self, model: KerasModel, task: TaskView) -> KerasModel:
        """A model with as many filters removed, by l2 norm: `apply` may remove others."""
        TrainingStage.outline(self, model, task)
        groups = self._filter_groups(model)
        return self._smaller(model, groups, importance.norm_scores(model, groups, 2))

    def _smaller(self, model: KerasModel, groups: FilterGroups, scores: np.ndarray) -> KerasModel:
        """A copy of the model without the filters of the lowest scores, float64 [units]."""
        ordered = self._ordered(groups, scores)
        target, cost = self._target(model, groups)
        kept = choose(ordered, groups.units, cost, target, cast("Scope", self.scope))
        if cost(kept) > target:
            raise ValueError(
                f"{self.name}: too few filters have a score that is a number: the model has NaN or infinite weights, "
                "its training may have diverged."
            )
        return surgery.without_filters(model, groups, kept)

    def asked_figure(self) -> str | None:
        return next((name for name in FIGURES if getattr(self, name) is not None), None)

    def reaching(
        self, model: KerasModel, task: TaskView, seed: int, figure: Callable[[KerasModel], float]
    ) -> PruneFilters:
        """The stage with the fewest macs to save, in thousandths, whose model has at most the figure asked for.

        Raises:
          CannotTreat: the smallest model has more.
        """
        name = cast(str, self.asked_figure())
        asked: float = getattr(self, name)
        by_macs = replace(self, macs=0.0, **{name: None})  # type: ignore[arg-type]
        groups = by_macs._filter_groups(model)
        scores = by_macs._scores(model, groups, task, seed)
        ordered = by_macs._ordered(groups, scores)
        _, cost = by_macs._target(model, groups)
        saved = 1 - least_cost(ordered, groups.units, cost) / cost(np.ones(groups.units, bool))

        def reached(thousandths: int) -> float:
            smaller = replace(by_macs, macs=thousandths / THOUSANDTHS)
            return figure(smaller._smaller(model, groups, scores))

        most = int(saved * THOUSANDTHS)
        if (least := reached(most)) > asked:
            reason = f"of this model is {least:.6g} with all removable filters removed"
            way = f"ask for more than --{name} {asked:g}, or skip fewer layers"
            raise CannotTreat(Finding((), reason, way, f"the {name}"), stage=self.name)
        return replace(by_macs, macs=fewest(reached, asked, most) / THOUSANDTHS)

    @property
    def _target_name(self) -> str:
        return next((name for name in SHARES if getattr(self, name) is not None), "macs")

    def _filter_groups(self, model: KerasModel) -> FilterGroups:
        """The filters of the model in their dependency groups. ValueError if a layer to skip does not exist."""
        groups = build_dependency_graph(model.keras)
        check_named(self.name, self.skip, groups.makers(), "with filters to skip")
        return groups.holding(self.skip)

    def _ordered(self, groups: FilterGroups, scores: np.ndarray) -> list[Candidates]:
        """The groups that can lose filters. A group with an unscored unit (NaN) is left out and stays whole."""
        return [
            candidates(units, scores[units], self.round_to)
            for units in groups.groups().values()
            if not np.isnan(scores[units]).any()
        ]

    def _target(self, model: KerasModel, groups: FilterGroups) -> tuple[float, Cost]:
        """The highest cost allowed, and the function that gives the cost of a selection of units, bool [units]."""
        terms = {
            "macs": lambda: surgery.mac_terms(model, groups),
            "params": lambda: surgery.parameter_terms(model, groups),
            "filters": lambda: surgery.filter_terms(groups),
        }[self._target_name]()

        def cost(kept: np.ndarray) -> int:
            return surgery.amount(terms, kept)

        whole = cost(np.ones(groups.units, dtype=bool))
        # A figure is not known here: the run that measures it gives macs instead.
        return (1 - (getattr(self, self._target_name) or 0.0)) * whole, cost

    def _scores(
        self, model: KerasModel, groups: FilterGroups, task: TaskView, seed: int
    ) -> np.ndarray:
        if self.criterion == "taylor":
            # A killed run must choose the same filters when it resumes.
            set_seed(backend.keras(), seed, task.deterministic)
            order = np.random.default_rng(seed).permutation(len(task.train))[:TAYLOR_IMAGES]
            images = task.train.images[order] * np.float32(task.task.input_scale)
            slopes = importance.gate_gradients(model, groups, images, task.train.labels[order])
            return importance.taylor_scores(slopes)
        scores: dict[str, Callable[[], np.ndarray]] = {
            "l1": lambda: importance.norm_scores(model, groups, 1),
            "l2": lambda: importance.norm_scores(model, groups, 2),
            "batchnorm": lambda: importance.batchnorm_gamma_scores(model, groups),
            "random": lambda: np.random.default_rng(seed).random(groups.units),
        }
        return scores[self.criterion]()
