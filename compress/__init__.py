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
    "Task": "compress.task",
    "TaskView": "compress.task",
    "Dataset": "compress.task",
    "Split": "compress.task",
    "Recipe": "compress.train",
    "KerasModel": "compress.model",
    "TFLiteModel": "compress.model",
    "Pipeline": "compress.pipeline",
    "Result": "compress.result",
    "measure": "compress.measurement",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
