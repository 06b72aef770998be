"""Weights and multiply-accumulates of the parts of a network."""

from __future__ import annotations

from typing import Any

from compress.keras_models.model import KerasModel
from compress.measurement.layer_table import layer_table


def weights_and_macs(model: Any, part: str) -> tuple[int, int]:
    """The kernel weights and the multiply-accumulates of the layers whose names begin with `part`."""
    rows = [row for row in layer_table(KerasModel(model)) if row["name"].startswith(part)]
    kernels = KerasModel(model).kernels()
    weights = sum(w.size for name, w in kernels.items() if name.startswith(part))
    return weights, sum(row["macs"] for row in rows)
