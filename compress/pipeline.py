"""Pipeline: stages in order, checked before any work, run with every prefix kept and reused."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.checkpoint import seconds_logged
from compress.findings import as_findings
from compress.model import KerasModel, TFLiteModel
from compress.result import Result, append_to
from compress.stage import Stage
from compress.store import empty
from compress.task import TaskView
from compress.tflite_file import matched_kernels
from compress.workbench import LOCK, Workbench, claimed, finished, keep

AnyModel = KerasModel | TFLiteModel


@dataclass(frozen=True)
class Pipeline:
    """Stages in order. Each must take the format that the one before gives; the first takes a Keras model."""

    stages: tuple[Stage, ...]

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
        """Notes of all stages on what they will leave untreated, before any work.

        Raises:
          CannotTreat, or another ValueError: a stage cannot treat the model.
        """
        notes: list[str] = []
        for number, stage in enumerate(self.stages):
            if stage.takes != "keras":
                break
            notes += _notes(stage, model)
            if not stage.keeps_architecture:
                model = stage.outline(model, task)
                notes += [
                    f"{stage.name} makes another network: what {before.name} promised of the one before ends there."
                    for before in self.stages[:number]
                ]
        return notes

    def prefixes(self) -> list[Pipeline]:
        """The empty pipeline, then one stage more each time, up to this one."""
        return [Pipeline(self.stages[:n]) for n in range(len(self.stages) + 1)]

    def run(self, model: KerasModel, bench: Workbench) -> list[Result]:
        """One row per prefix, the baseline first. A prefix that is finished in `bench.out` is reused."""
        for sentence in self.check(model, bench.view(bench.out)):
            bench.progress.note(sentence)
        incoming = model.digest
        rows, state = [], _State(model)
        for prefix in self.prefixes():
            row, state = prefix._last(state, incoming, bench)
            rows.append(row)
        return rows

    def _last(self, state: _State, incoming: str, bench: Workbench) -> tuple[Result, _State]:
        stage = self.stages[-1] if self.stages else None
        specs = [s.spec() for s in self.stages]
        run = bench.keys.of_pipeline(self.stages, incoming)
        folder = bench.out / self.folder_name(run)
        with claimed(folder, bench.progress.note):
            if bench.fresh:
                empty(folder, but=LOCK)
            if found := finished(folder):
                row, _ = found
                bench.reuse(self.label, folder, row)
                return row, _State(folder, stage.gives if stage else "keras", bench.trust)
            # Epochs that a killed process did count too.
            began = time.monotonic() - seconds_logged(folder / "checkpoint")
            before = state.model()
            notes = _notes(stage, before) if stage and isinstance(before, KerasModel) else []
            after: AnyModel = before
            view = bench.view(folder)
            if stage:
                after = stage.apply(before, view, bench.seed)  # type: ignore[arg-type]
            exported = after if isinstance(after, TFLiteModel) else after.to_tflite()
            kept = after if isinstance(after, KerasModel) else None
            # A finished file is held against the Keras model that it was made of.
            source = kept or before
            if isinstance(source, KerasModel):
                self._verify(source, exported)
            row = bench.row(
                exported,
                run=run,
                label=self.label,
                pipeline=specs,
                incoming=incoming,
                params=kept.params if kept else None,
                seconds=time.monotonic() - began,
                notes=notes,
                recorded=view.recorded,
            )
            keep(folder, row, exported, kept)
            append_to(bench.results, row)
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        return row, _State(after)

    def _verify(self, model: KerasModel, exported: TFLiteModel) -> None:
        """Every zero of the model, and every promise of every stage so far, must be in the file."""
        kernels = matched_kernels(exported.content, model.kernels())
        broken = [
            f"{name}: {int(lost)} zero weights of the model are not zero in the exported file"
            for name, kernel in model.kernels().items()
            if (lost := np.count_nonzero((kernel == 0) & (kernels[name] != 0)))
        ]
        for stage in self._binding():
            broken += [f"{stage.name}: {sentence}" for sentence in stage.broken_promises(kernels)]
        if broken:
            raise ValueError("the exported file breaks a promise: " + "; ".join(broken))

    def _binding(self) -> tuple[Stage, ...]:
        """The stages whose promises hold at the end: those from the last one on that made another network."""
        makers = [n for n, stage in enumerate(self.stages) if not stage.keeps_architecture]
        return self.stages[makers[-1] if makers else 0 :]

    def folder_name(self, run: str) -> str:
        """The name of the folder of the run with that key."""
        text = "-".join(w.removeprefix("--") for s in self.stages for w in s.argv())
        kept = "".join(c if c.isalnum() or c in "-._" else "_" for c in text)
        return f"{kept[:80] or 'baseline'}-{run[:12]}"


def _notes(stage: Stage, model: KerasModel) -> list[str]:
    return [finding.sentence(stage.name) for finding in as_findings(stage.check(model))]


class _State:
    """A model in memory, or still in the run folder of a prefix that was reused."""

    def __init__(self, source: AnyModel | Path, format: str = "keras", trust: bool = False) -> None:
        self._source, self._format, self._trust = source, format, trust

    def model(self) -> AnyModel:
        if isinstance(self._source, Path):
            from compress import model_file

            suffix = "keras" if self._format == "keras" else "tflite"
            self._source = model_file.load(self._source / f"model.{suffix}", self._trust)
        return self._source
