"""Pipeline: stages in order, checked before any work, run with every prefix kept and reused."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from compress.diagnosis.repair import with_cure
from compress.findings import CannotTreat, Finding, as_findings, by_cause
from compress.keras_models.model import KerasModel
from compress.pipelines.state import AnyModel, State
from compress.rows.result import Result
from compress.runs import figures as reached
from compress.runs import minutes, precision, provenance, seen, trained
from compress.runs.context import Made, RunContext
from compress.runs.folder import RunFolder
from compress.runs.trained import Trained
from compress.stage import Stage, checked
from compress.tasks.view import TaskView
from compress.tflite.contents import matched_kernels
from compress.tflite.model import TFLiteModel


@dataclass(frozen=True)
class Pipeline:
    """Stages in order. Each must take the format that the one before gives; the first takes a Keras model."""

    stages: tuple[Stage, ...]
    # For each stage: the targets, such as minutes, that were replaced by other options.
    settled: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        format, giver = "keras", "the model"
        for stage in self.stages:
            if stage.takes != format:
                raise ValueError(
                    f"{giver} gives a {format} model but {stage.name} takes {stage.takes}: "
                    f"put {stage.name} before {giver}."
                )
            format, giver = stage.gives, stage.name

    @property
    def label(self) -> str:
        """The stages as typed; "baseline" if there are none."""
        return " ".join(w for s in self.stages for w in s.argv()) or "baseline"

    def check(self, model: KerasModel, task: TaskView) -> list[str]:
        """Check all stages before any work. Return notes on the parts of the model that they will leave untreated.

        Raises:
          CannotTreat, or another ValueError: a stage cannot treat the model.
        """
        notes: list[str] = []
        for number, stage in enumerate(self.stages):
            if stage.needs_micro and (why := self.stages[number - 1].why_not_on_micro()):
                raise ValueError(f"{stage.name}: TFLM must run the file that it takes, but {why}.")
            # A stage that takes a file is checked against the model that the file will be made of.
            try:
                findings, after = checked(stage, model, task)
            except CannotTreat as refusal:
                if number:
                    raise
                raise with_cure(refusal, model, stage, task) from None
            notes += _sentences(stage, findings)
            model = after or model
            if not stage.keeps_architecture:
                notes += [
                    f"{stage.name} makes another network, so promises of {before.name} are not checked after it."
                    for before in self.stages[:number]
                ]
        return notes

    def prefixes(self) -> list[Pipeline]:
        """The empty pipeline, then pipelines with one more stage each, up to this one."""
        return [Pipeline(self.stages[:n], self.settled[:n]) for n in range(len(self.stages) + 1)]

    def run(self, model: KerasModel, context: RunContext) -> list[Result]:
        """One row per prefix, the baseline first. A prefix that is finished in `context.out` is reused.

        If the only stage is already trained but not measured, on this backend or on JAX, it is only measured.
        """
        return self._ready(model, context, of_jax=True)._run(model, context)

    def _ready(self, model: KerasModel, context: RunContext, of_jax: bool = False) -> Pipeline:
        """The pipeline after its check, with other options in place of targets that have to be measured first."""
        seen.check_teachers(self.stages, context)
        stages, figures = reached.settled(self.stages, model, context)
        for sentence in Pipeline(stages).check(model, context.view(None)):
            context.progress.note(sentence)
        stages, times = minutes.settled(stages, model, context, of_jax)
        asked = ({"minutes": time} if time else {} for time in times)
        both = (figure | of_time for figure, of_time in zip(figures, asked, strict=True))
        return Pipeline(stages, tuple(both))

    def _run(self, model: KerasModel, context: RunContext) -> list[Result]:
        incoming = model.digest
        own = self._decided(model, context)
        if len(self.stages) == 1:
            other = self._decided(model, trained.on_jax(context))
            own = trained.chosen(own, other, lambda each: self._folder(incoming, each))
        context = own
        rows, state = [], State(model)
        for prefix in self.prefixes():
            row, state = prefix._run_last(state, incoming, context)
            rows.append(row)
        return rows

    def _run_last(self, state: State, incoming: str, context: RunContext) -> tuple[Result, State]:
        """Run the last stage of this prefix. Return the row of the prefix and the model after it.

        Args:
          state: the model after the prefix that is one stage shorter.
          incoming: digest of the model that the pipeline starts from.
        """
        folder = self._folder(incoming, context)
        format = self.stages[-1].gives if self.stages else "keras"
        after = State(folder, format, context.trust)

        def make() -> Made:
            nonlocal after
            made, model = self._made(state, incoming, context, folder)
            after = State(model)
            return made

        finished_run = context.run(folder, self.label, make)
        return finished_run.rows[context.measured_on], after

    def keep_unmeasured(self, model: KerasModel, context: RunContext) -> Path:
        """Run the only stage, keep its model in the run folder, and return this folder. The model is measured later."""
        return self._ready(model, context)._kept(model, context)

    def _kept(self, model: KerasModel, context: RunContext) -> Path:
        context = self._decided(model, context)
        folder = self._folder(model.digest, context)

        def train() -> Trained:
            began = time.monotonic() - folder.seconds_so_far()
            after, notes, recorded = self._apply_last(model, context, folder)
            return Trained(
                model=cast(KerasModel, after),  # --no-measure is only for stages that give one
                incoming=model.digest,
                trained_on=seen.by_stages(self.stages, context),
                seconds=time.monotonic() - began,
                peak_memory_bytes=provenance.peak_memory_bytes(),
                notes=[*notes, *trained.notes_on(context)],
                recorded=recorded,
                manifest=trained.provenance_of(context),
            )

        trained.keep(context, folder, self.label, train)
        return folder.path

    def _decided(self, model: KerasModel, context: RunContext) -> RunContext:
        training = precision.of_pipeline(self.stages, model.digest, context.keys)
        return precision.settled(context, training, lambda: _network(training, model, context))

    def _folder(self, incoming: str, context: RunContext) -> RunFolder:
        run = context.keys.of_pipeline(self.stages, incoming)
        return RunFolder.named(context.out, self.folder_name(run))

    def _made(
        self, before: State, incoming: str, context: RunContext, folder: RunFolder
    ) -> tuple[Made, AnyModel]:
        """The model after the last stage, exported. A trained model in `folder` that is not measured yet is reused."""
        done = Trained.load(folder, context.trust)
        if done:
            context.progress.note(f"{self.label}: trained before, measured now")
            after: AnyModel = done.model
            notes, recorded = done.notes, done.recorded
        else:
            after, notes, recorded = self._apply_last(before.model(), context, folder)
        exported = after if isinstance(after, TFLiteModel) else after.to_tflite()
        model = after if isinstance(after, KerasModel) else None
        # A .tflite file is checked against the Keras model that it was made of.
        source = model or before.model()
        if isinstance(source, KerasModel):
            self._verify(source, exported)
        made = Made(
            run=context.keys.of_pipeline(self.stages, incoming),
            exported=exported,
            model=model,
            pipeline=[s.spec() for s in self.stages],
            incoming=incoming,
            notes=[*notes, *exported.notes],
            recorded=recorded,
            trained_on=seen.by_stages(self.stages, context),
            seconds=done.seconds if done else None,
            peak_memory_bytes=done.peak_memory_bytes if done else None,
            manifest=done.manifest if done else {},
        )
        return made, after

    def _apply_last(
        self, before: AnyModel, context: RunContext, folder: RunFolder
    ) -> tuple[AnyModel, Sequence[str], Mapping[str, Any]]:
        """The model after the last stage, its notes, and its decisions. The stage computes with what is in its key."""
        stage = self.stages[-1] if self.stages else None
        notes = list[str]()
        if stage and isinstance(before, KerasModel):
            notes = _sentences(stage, as_findings(stage.check(before)))
        context = replace(context, decided=context.keys.decided_for(self.stages))
        view = context.view(folder)
        after: AnyModel = stage.apply(before, view, context.seed) if stage else before  # type: ignore[arg-type]
        for name, value in (self.settled[-1] if self.settled else {}).items():
            view.record(name, value)
        return after, notes, {**context.decided, **view.recorded}

    def _verify(self, model: KerasModel, exported: TFLiteModel) -> None:
        """Raise ValueError if the file lacks a zero of the model, or breaks a promise of a stage so far."""
        kernels = matched_kernels(exported.graph, model.kernels())
        broken = [
            f"{name}: {int(lost)} zero weights of the model are not zero in the exported file"
            for name, kernel in model.kernels().items()
            if (lost := np.count_nonzero((kernel == 0) & (kernels[name] != 0)))
        ]
        for stage in self._stages_still_bound():
            broken += [f"{stage.name}: {sentence}" for sentence in stage.broken_promises(kernels)]
        if broken:
            raise ValueError("the exported file breaks a promise: " + "; ".join(broken))

    def _stages_still_bound(self) -> tuple[Stage, ...]:
        """The stages whose promises must hold at the end: the last one that made another network, and all after it."""
        makers = [n for n, stage in enumerate(self.stages) if not stage.keeps_architecture]
        return self.stages[makers[-1] if makers else 0 :]

    def folder_name(self, run: str) -> str:
        """The folder name of the run with the key `run`: the stages as typed, then 12 digits of the key."""
        text = "-".join(w.removeprefix("--") for s in self.stages for w in s.argv())
        safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in text)
        return f"{safe[:80] or 'baseline'}-{run[:12]}"


def _network(
    training: precision.Training | None, model: KerasModel, context: RunContext
) -> KerasModel:
    """The network that a training of a pipeline trains, but with other weights."""
    for stage in training.stages if training else ():
        if not stage.keeps_architecture:
            model = stage.outline(model, context.view(None))
    return model


def _sentences(stage: Stage, findings: Sequence[Finding]) -> list[str]:
    return [finding.sentence(stage.name) for finding in by_cause(findings)]
