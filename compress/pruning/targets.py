"""What a selection of filters costs: multiply-accumulates, parameters, filters, or bytes of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compress.keras_models.model import KerasModel
from compress.pruning import surgery
from compress.pruning.dependency_graph import FilterGroups
from compress.pruning.selection import Cost

if TYPE_CHECKING:
    from compress.measurement.predicted_size import NetworkSizes


def cost(name: str, model: KerasModel, groups: FilterGroups) -> Cost:
    """The function that gives the "macs", "params" or "filters" of a selection of units, bool [units]."""
    terms = {
        "macs": lambda: surgery.mac_terms(model, groups),
        "params": lambda: surgery.parameter_terms(model, groups),
        "filters": lambda: surgery.filter_terms(groups),
    }[name]()

    def of(kept: np.ndarray) -> int:
        return surgery.amount(terms, kept)

    return of


def byte_cost(
    model: KerasModel,
    groups: FilterGroups,
    sizes: NetworkSizes,
    file_bytes: Callable[..., int],
) -> Cost:
    """The function that gives the bytes of the file of a selection of units.

    Args:
      sizes: of the whole model.
      file_bytes: from sizes of kernels, and `unfolded`, channels of normalizations that do not fold, to bytes.
    """
    terms = surgery.kernel_terms(model, groups)
    norms = [model.keras.get_layer(name) for name in sizes.unfolded]
    means = [surgery.term(groups, norm, norm.moving_mean) for norm in norms]

    def of(kept: np.ndarray) -> int:
        kernels = []
        for name, size in sizes.kernels.items():
            weights, channels = (surgery.amount([term], kept) for term in terms[name])
            kernels.append(replace(size, weights=weights, channels=channels))
        return file_bytes(kernels, unfolded=[surgery.amount([mean], kept) for mean in means])

    return of
