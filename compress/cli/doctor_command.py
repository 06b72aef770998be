"""The code of `compress doctor`. Imported when the command runs, never for help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress import registry
from compress.cli import console
from compress.cli.options import USUAL_TASK
from compress.diagnosis import equivalence
from compress.diagnosis.asked_task import view, view_without_data
from compress.diagnosis.diagnose import Fix, diagnose, loaded_model
from compress.diagnosis.target import on_micro, sentences
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.measurement.scale_trial import trials
from compress.model_files.fits_task import check_shapes
from compress.pipelines import setup
from compress.stage import Stage
from compress.tasks.images import suited
from compress.tasks.task import Task
from compress.tasks.view import TaskView


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """The options of `compress doctor`, besides its stages."""

    file: Path
    fix: Path | None  # where to write the rewritten model
    task: Task | None  # to check the stages for, with its data; None: see `view_without_data`
    data: Path | None
    input_scale: float | None
    target: str | None
    trust: bool
    as_json: bool


def doctor(stages: Sequence[Stage], options: DoctorOptions) -> bool:
    """Show which layers each stage can treat. Return True if every stage can work and a given target runs the model.

    Without stages, check every installed stage that takes a Keras model.
    """
    setup.check_tensorflow("doctor", options.file)
    installed = [registry.stage(name) for name in registry.stage_names()]
    stages = stages or [cls() for cls in installed if cls.takes == KerasModel.format]
    if options.task is None:
        usual = registry.task(USUAL_TASK)
        fix = Fix(options.fix, equivalence.random_images) if options.fix else None
        record = diagnose(
            options.file, stages, options.trust, fix, lambda model: view_without_data(model, usual)
        )
    else:
        record = _diagnosed_for(options.task, stages, options)
    if options.target:
        # The rewritten model, if there is one.
        file = (record["fixed"] or {}).get("file", options.file)
        model = flattened(loaded_model(Path(file), options.trust))[0]
        record["on_target"] = on_micro(model)
    if options.as_json:
        console.say_json(record)
    else:
        console.print_diagnoses(record)
        if options.target:
            console.say("", *sentences(record["on_target"]))
    runs = record["on_target"]["runs"] if options.target else True
    return runs and all(diagnosis["can_work"] for diagnosis in record["stages"])


def _diagnosed_for(task: Task, stages: Sequence[Stage], options: DoctorOptions) -> dict[str, Any]:
    """The diagnosis of stages on the model for a task, with its data."""
    notes = list[str]()
    data = task.load(options.data, console.progress().note)

    def images(model: KerasModel) -> equivalence.Images:
        return equivalence.task_images(model, task, data, options.input_scale)

    def task_of(model: KerasModel) -> TaskView:
        # No check of layer names: a name that no run takes is a finding here, because --fix changes it.
        check_shapes(model, data.train.images.shape[1:], len(data.classes), task.name)
        fitted, found = suited(task, data, model, options.input_scale)
        (trial,) = trials(model, data.validation, len(data.classes), [fitted.input_scale]).values()
        notes.extend([*found, *([trial.at_chance_sentence] if trial.at_chance else [])])
        return view(fitted, data)

    setup.check_declared_shapes(options.file, task, data)
    fix = Fix(options.fix, images) if options.fix else None
    record = diagnose(options.file, stages, options.trust, fix, task_of)
    return record | {"notes": [*notes, *record["notes"]]}
