"""Check, before any work, whether a microcontroller can run the int8 file of a model with TFLM, for any weights."""

from __future__ import annotations

from typing import Any

from compress.diagnosis.equivalence import random_images
from compress.keras_models.layers import layer_of
from compress.keras_models.model import KerasModel
from compress.micro import interpreter
from compress.micro.arena import MEASURED_WITH
from compress.micro.refusal import NotOnMicro

CALIBRATION = 8  # random images: the operators and the arena do not depend on ranges


def on_micro(model: KerasModel) -> dict[str, Any]:
    """As plain data: whether TFLM runs the int8 model, its arena or what is missing, and the layers that int4 skips.

    Raises:
      ValueError: tflite-micro is not installed, or the model cannot be exported.
    """
    interpreter.check()
    file = model.to_tflite("int8", random_images(model).values[:CALIBRATION])
    wide = [layer_of(name) for name, v in model.kernel_variables().items() if len(v.shape) == 2]
    record: dict[str, Any] = {"target": "micro", "in_8_bits_with_int4": wide}
    try:
        arena = interpreter.arena(file.content)
    except NotOnMicro as refused:
        return record | {"runs": False, "why": refused.why, "what_to_do": refused.way}
    found = {"runs": True, "arena_bytes": arena.total, "arena_measured_with": MEASURED_WITH}
    return record | found | {"file_bytes": len(file.content)}


def sentences(record: dict[str, Any]) -> list[str]:
    """The result of `on_micro` as sentences."""
    if not record["runs"]:
        return [f"TFLM does not run the model in int8: {record['why']}; {record['what_to_do']}."]
    runs = (
        f"TFLM runs the model in int8: {record['file_bytes']:,} bytes of flash, an arena of {record['arena_bytes']:,} "
        f"bytes ({record['arena_measured_with']})."
    )
    wide = ", ".join(record["in_8_bits_with_int4"])
    four = f"It has no 4-bit kernels for Dense layers: quantize --scheme int4 --target micro leaves {wide} in 8 bits."
    return [runs, *([four] if wide else [])]
