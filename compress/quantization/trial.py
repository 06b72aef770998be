"""A trial export of a model before any work: it checks that a number format has integers for every operator."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from compress.findings import CannotTreat, Finding
from compress.keras_models.model import KerasModel
from compress.quantization import int4
from compress.quantization.int4_export import NoIntegers
from compress.quantization.operator_layers import layers_of
from compress.tflite.convert import SCHEMES, converted
from compress.tflite.graph import Operator


def check(model: KerasModel, scheme: str, coarse: Collection[str] = ()) -> None:
    """Raise CannotTreat if a scheme computes in integers but has no integer form of an operator of the model.

    Args:
      scheme: "int4", or one of `tflite.convert.SCHEMES`.
      coarse: the kernels that are stored in 4 bits.
    """
    blank = np.ones((1, *model.input_shape), np.float32)
    if scheme == "int4":
        try:
            int4.trial(model, coarse, blank)
        except NoIntegers as error:
            raise _refusal(model, error.operators) from None
    elif SCHEMES[scheme].needs_calibration:
        try:
            converted(model.keras, scheme, blank)
        except RuntimeError as error:
            lines = dict.fromkeys(line.strip().rstrip(".") for line in str(error).splitlines())
            reason = f"cannot be written: {'; '.join(filter(None, lines))}"
            way = "use scheme dynamic" if scheme.startswith("int8") else "use scheme int8"
            raise CannotTreat(Finding((), reason, way, f"scheme {scheme}")) from None


def _refusal(model: KerasModel, lacking: Sequence[Operator]) -> CannotTreat:
    names = ", ".join(sorted({operator.name for operator in lacking}))
    reason = f"is computed by {names}, which scheme int4 cannot compute in integers"
    way = "use scheme int8"
    layers = layers_of(lacking, model)
    if not layers:
        return CannotTreat(Finding((), reason, way, "a part of the model"))
    return CannotTreat(*(Finding((layer,), reason, way) for layer in layers))
