"""`compress inspect --target`: what a `.tflite` file needs on a microcontroller or an Ethos-U."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.cli import console
from compress.cli.options import MICRO
from compress.micro import interpreter, lifetimes, vela
from compress.micro.arena import MEASURED_WITH
from compress.micro.refusal import NotOnMicro
from compress.model_files.load import load_model
from compress.tflite.model import TFLiteModel


def inspect(file: Path, target: str, trust: bool, as_json: bool, **of_task: Any) -> None:
    """Show what a `.tflite` file needs on a target.

    Raises:
      ValueError: the file is not a `.tflite` file, or the library for the target is not installed.
    """
    (interpreter if target == MICRO else vela).check()
    model = load_model(file, trust)
    if not isinstance(model, TFLiteModel):
        raise ValueError(
            f"{file} is not a .tflite file; --target needs one, as `compress run` writes it."
        )
    record = micro_record(model) if target == MICRO else vela_record(model, target)
    if as_json:
        console.say_json(record)
        return
    tensors = record.pop("alive_at_peak", [])
    console.print_pairs({name.replace("_", " "): _shown(value) for name, value in record.items()})
    if tensors:
        console.say("")
        console.print_records(tensors)


def micro_record(model: TFLiteModel) -> dict[str, Any]:
    """The result of a file in TFLM, as plain data; "runs" is True, or False with "why" and "what_to_do"."""
    operators = sorted({operator.name for operator in model.graph.operators})
    record: dict[str, Any] = {"target": "TFLM", "file_bytes": len(model.content)}
    try:
        arena = interpreter.arena(model.content)
    except NotOnMicro as refused:
        return record | {
            "runs": False, "why": refused.why, "what_to_do": refused.way, "operators": operators,
        }  # fmt: skip
    peak = lifetimes.peak(model.graph)
    return record | {
        "runs": True,
        "operators": operators,
        "arena_bytes": arena.total,
        "arena_head_bytes": arena.head,
        "arena_tail_bytes": arena.tail,
        "arena_measured_with": MEASURED_WITH,
        "peak_at": f"operator {peak.number + 1} of {len(model.graph.operators)}, {peak.operator.name}",
        "peak_bytes": peak.size_bytes,
        "alive_at_peak": [
            {"shape": list(tensor.shape), "dtype": tensor.dtype, "bytes": size}
            for tensor, size in peak.alive
        ],
    }


def vela_record(model: TFLiteModel, accelerator: str) -> dict[str, Any]:
    """Vela's estimate for a file, as plain data."""
    found = vela.estimate(model.content, accelerator)
    return {
        "target": accelerator,
        "kind": "estimate of Arm's compiler Vela, no measurement",
        "system": found.system,
        "cycles": found.cycles,
        "sram_bytes": found.sram_bytes,
        "flash_bytes": found.flash_bytes,
        "npu_operators": found.npu_operators,
        "cpu_operators": found.cpu_operators,
    }


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items()) or "none"
    return ", ".join(value) if isinstance(value, list) else str(value)
