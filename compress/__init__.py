"""Make small image CNNs smaller, and say truthfully what that cost.

Importing this package imports nothing heavy; the names below are loaded on first use.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Stage": "compress.stage",
    "option": "compress.stage",
    "Finding": "compress.findings",
    "CannotTreat": "compress.findings",
    "Task": "compress.tasks.task",
    "TaskView": "compress.tasks.view",
    "Dataset": "compress.data.dataset",
    "Split": "compress.data.dataset",
    "Recipe": "compress.training.recipe",
    "KerasModel": "compress.keras_models.model",
    "TFLiteModel": "compress.tflite.model",
    "Pipeline": "compress.pipelines.pipeline",
    "Result": "compress.result",
    "measure": "compress.measurement.measure",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
