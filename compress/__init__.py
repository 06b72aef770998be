"""Make small image CNNs smaller, and say truthfully what that cost.

Importing this package loads no heavy library. Each name below is loaded on first use.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Stage": "compress.stage",
    "option": "compress.typed_options",
    "WholeNumbers": "compress.typed_options",
    "Finding": "compress.findings",
    "CannotTreat": "compress.findings",
    "Task": "compress.tasks.task",
    "Network": "compress.tasks.network",
    "BaselineNetwork": "compress.tasks.task",
    "TaskView": "compress.tasks.view",
    "Dataset": "compress.data.dataset",
    "Split": "compress.data.dataset",
    "Recipe": "compress.training.recipe",
    "Distillation": "compress.training.distillation",
    "KerasModel": "compress.keras_models.model",
    "TFLiteModel": "compress.tflite.model",
    "Pipeline": "compress.pipelines.pipeline",
    "Result": "compress.rows.result",
    "measure": "compress.measurement.measure",
    "load": "compress.api",
    "run": "compress.api",
    "evaluate": "compress.api",
    "inspect": "compress.api",
    "doctor": "compress.api",
    "write_report": "compress.api",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name[:1].isupper():  # the class of an installed stage, such as `compress.Prune`
        stage = import_module("compress.registry").stage_of_class(name)
        if stage is not None:
            return stage
    raise AttributeError(f"module 'compress' has no attribute {name!r}")
