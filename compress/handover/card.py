"""The model card of an exported folder, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from compress.handover.golden import quantization
from compress.micro.arena import MEASURED_WITH, Arena
from compress.rows.result import Result
from compress.text import printable
from compress.tflite import contents, ledger
from compress.tflite.model import TFLiteModel
from compress.tflite.tensor import Tensor


def model_card(
    model: TFLiteModel,
    *,
    name: str,
    labels: Sequence[str],
    input_scale: float | None,
    features: bool,
    row: Result | None,
    arena: Arena | None,
    refusal: str,
    examples: int,
) -> str:
    """The text of the model card.

    Args:
      input_scale: the network sees pixel * input_scale; None if it is not known.
      features: the data are prepared numbers, not pixels.
      row: None if the file was handed over without one.
      arena: None if TFLM does not run the file; `refusal` says why.
      examples: number of golden examples.
    """
    stored = contents.stored_in(model.graph)
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    template = (files("compress.handover") / "templates" / "card.md.j2").read_text()
    return environment.from_string(template).render(
        name=name,
        title=f"Model card: {name}",
        lead=_lead(model, row),
        accuracy=_accuracy(row),
        input=_tensor(model.graph.inputs[0]),
        output=_tensor(model.graph.outputs[0]),
        scaling=_scaling(model.graph.inputs[0], input_scale, features),
        labels=", ".join(printable(label) for label in labels),
        parts=[*ledger.file_parts(model).items(), ("all", len(model.content))],
        params=contents.stored_params(stored),
        nonzero=contents.nonzero_params(stored),
        macs=sum(operator.macs for operator in model.graph.operators),
        on_micro=_on_micro(arena, refusal),
        operators=", ".join(sorted({operator.name for operator in model.graph.operators})),
        made=_made(row),
        golden=examples,
    )


def _lead(model: TFLiteModel, row: Result | None) -> list[str]:
    what = (
        "An image classifier" if row is None else f"A classifier for the task {printable(row.task)}"
    )
    return [
        f"{what}, as a `.tflite` file of {len(model.content):,} bytes.",
        f"SHA-256 {model.digest}",
    ]


def _accuracy(row: Result | None) -> str:
    if row is None:
        return ""
    images = f"{row.test_images:,} {row.measured_on} images of {printable(row.data)}"
    shown = (
        f"{row.top1:.2%} of {images} (95 % interval {row.top1_low:.2%} to {row.top1_high:.2%}); mean cross-entropy "
        f"{row.cross_entropy:.4f}. Measured from this file."
    )
    if row.micro_top1 is not None:
        shown += f" In TFLM's arithmetic: {row.micro_top1:.2%}."
    return shown


def _scaling(given: Tensor, input_scale: float | None, features: bool) -> str:
    if input_scale is None:
        return "The scaling of pixels is not known."
    scale, zero_point = quantization(given)
    if features:
        into = (
            f" as round(number / {scale:.9g}) + {zero_point}, limited to the type" if scale else ""
        )
        return f"A number of the prepared data goes in{into}."
    if not scale:
        return f"A pixel from 0 to 255 goes in times {input_scale:.9g}."
    return (
        f"A pixel from 0 to 255 goes in as round(pixel * {input_scale:.9g} / {scale:.9g}) + {zero_point}, limited to "
        "the type."
    )


def _on_micro(arena: Arena | None, refusal: str) -> str:
    if arena is None:
        return f"TFLM does not run it: {refusal}"
    return (
        f"TFLM runs it in an arena of {arena.total:,} bytes ({MEASURED_WITH}): {arena.head:,} for activations, "
        f"{arena.tail:,} that stay."
    )


def _made(row: Result | None) -> list[str]:
    if row is None:
        return ["Not known: the file was handed over without a row."]
    facts: Mapping[str, Any] = {
        "stages": f"`{printable(row.label)}`",
        "command": f"`{printable(row.command)}`",
        "trained on": row.trained_on,
        "seed": row.seed,
        "commit": printable(row.commit),
        "time": row.time,
        "run": row.run,
    }
    return [f"{name}: {value}" for name, value in facts.items()] + [printable(n) for n in row.notes]


def _tensor(tensor: Tensor) -> dict[str, Any]:
    scale, zero_point = quantization(tensor)
    return {
        "type": tensor.dtype,
        "shape": list(tensor.shape[1:]),
        "scale": f"{scale:.9g}" if scale else "none",
        "zero_point": zero_point if scale else "none",
    }
