"""Trained: a trained model that is not measured yet. It stays in its run folder until it is measured."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast, get_args

from compress import backend
from compress.files import check_own
from compress.keras_models.model import KerasModel
from compress.model_files.load import load_model
from compress.rows.result import TrainedOn
from compress.runs import provenance
from compress.runs.context import RunContext
from compress.runs.folder import MAX_MANIFEST_BYTES, RunFolder

JAX = "jax"  # the backend that trains without TensorFlow


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model, and the facts of its training for a row that is written later."""

    model: KerasModel
    incoming: str  # digest of the incoming model
    seconds: float
    peak_memory_bytes: int
    # The images that it was trained on, directly or through its teachers and its incoming model.
    trained_on: TrainedOn = "train"
    notes: Sequence[str] = ()
    recorded: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)  # its entries besides the row

    def save(self, folder: RunFolder) -> None:
        """Write the model and the facts to a run folder."""
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del facts["model"]
        folder.save_trained(self.model, facts)

    @classmethod
    def load(cls, folder: RunFolder, trust: bool) -> Trained | None:
        """The trained model of a run folder; None if the folder has no model that is trained but not measured.

        Raises:
          ValueError: its files are damaged.
        """
        facts = facts_in(folder)
        if facts is None:
            return None
        model = load_model(folder.model_file("keras"), trust)
        return cls(model=cast(KerasModel, model), **facts)


def facts_in(folder: RunFolder) -> dict[str, Any] | None:
    """The facts about the model of a run folder, by field of `Trained`; None if it is not trained, or is measured.

    Raises:
      ValueError: the file of the facts is damaged, or is a link.
    """
    check_own(folder.trained)
    if not folder.trained.exists():
        return None
    facts = None
    if folder.trained.stat().st_size <= MAX_MANIFEST_BYTES:
        with contextlib.suppress(RecursionError, ValueError):
            facts = json.loads(folder.trained.read_bytes())
    if isinstance(facts, dict):
        facts = {"trained_on": "train"} | facts  # files of earlier versions do not say it
    names = {f.name for f in dataclasses.fields(Trained)} - {"model"}
    if (
        not isinstance(facts, dict)
        or set(facts) != names
        or facts["trained_on"] not in get_args(TrainedOn)
    ):
        raise ValueError(
            f"{folder.path} does not say how its model was trained: delete this folder and train again."
        )
    return facts


def provenance_of(context: RunContext) -> dict[str, Any]:
    """The manifest entry about the training of a model that is measured later: code, libraries, machine and time."""
    return {
        "trained": {
            "backend": backend.name(),
            "commit": provenance.commit(),
            "command": context.command,
            "versions": provenance.versions() | {JAX: provenance.version_of(JAX)},
            "machine": provenance.machine(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    }


def notes_on(context: RunContext) -> list[str]:
    """The notes of a row whose model was trained on another backend than the one that exports it."""
    if "backend" not in context.decided:
        return []
    where = f"JAX {provenance.version_of(JAX)} ({provenance.machine()})"
    return [
        f"It was trained on {where}; versions and machine of its row are those of the measuring."
    ]


def keep(context: RunContext, folder: RunFolder, label: str, train: Callable[[], Trained]) -> None:
    """Train, save the model in `folder` and say so; nothing is exported or measured. A trained model is reused."""
    note = context.progress.note
    with folder.lock(note):
        if context.fresh:
            folder.clear()
        if folder.load() is not None:
            note(f"{label}: trained and measured already in {folder.path}")
            return
        if Trained.load(folder, context.trust) is None:
            train().save(folder)
        note(
            f"{label}: trained, not measured, so there is no .tflite file and no row. To measure "
            f"{folder.model_file('keras')}, run the same command without --no-measure where TensorFlow is installed"
        )


def on_jax(context: RunContext) -> RunContext:
    """The context with JAX as its training backend."""
    return dataclasses.replace(context, decided={**context.decided, "backend": JAX})


def chosen(
    own: RunContext, other: RunContext, folder: Callable[[RunContext], RunFolder]
) -> RunContext:
    """`other` if the run is trained there and not in `own`, and `own` is not fresh; otherwise `own`.

    Args:
      folder: returns the folder of the run in a context.
    """
    if own.fresh or folder(own).is_trained() or not folder(other).is_trained():
        return own
    return other
