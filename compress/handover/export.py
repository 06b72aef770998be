"""A folder that a firmware engineer can build from: the file, its C sources, golden examples, a card, checksums."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.handover.c_source import C_TYPES, identifier
from compress.handover.card import model_card
from compress.handover.firmware import Firmware
from compress.handover.golden import golden
from compress.micro import interpreter
from compress.micro.arena import Arena
from compress.micro.refusal import NotOnMicro
from compress.rows.result import Result
from compress.tflite.model import TFLiteModel

CHECKSUMS, ROW, CARD, LABELS = "checksums.txt", "row.json", "MODEL_CARD.md", "labels.txt"


@dataclass(frozen=True, kw_only=True)
class Handover:
    """A model to hand over, and the content of its folder."""

    name: str  # of the files; names in C begin with it
    model: TFLiteModel
    labels: Sequence[str]
    images: np.ndarray  # of the golden examples: uint8 [n, h, w, c], or float32 features [n, ...]
    input_scale: float | None  # None: not known; the examples then take pixels without scaling
    row: Result | None = None


def export(what: Handover, to: Path) -> list[str]:
    """Write the folder completely, or nothing. Return the names of its files.

    If TFLM does not run the file, the folder has no C sources, and the card says why.

    Raises:
      ValueError: `to` exists and is not an empty folder, tflite-micro is not installed, or an input or output has
        numbers of a type that C lacks.
    """
    interpreter.check()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ValueError(f"{to} is there already: name a new folder, or an empty one.")
    for tensor in (*what.model.graph.inputs, *what.model.graph.outputs):
        if tensor.dtype not in C_TYPES:
            raise ValueError(
                f"the file takes or gives {tensor.dtype}; expected {', '.join(C_TYPES)}."
            )
    content = _files(what)
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in content.items()]
    content[CHECKSUMS] = "".join(lines).encode()
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as name:
        folder = Path(name) / "folder"
        folder.mkdir()
        for file, data in content.items():
            (folder / file).write_bytes(data)
        os.replace(folder, to)
    return list(content)


def _files(what: Handover) -> dict[str, bytes]:
    name = identifier(what.name)
    arena, refusal = _arena(what.model)
    texts: dict[str, str] = {}
    if arena is not None:
        examples = golden(what.model, what.images, what.input_scale or 1.0)
        texts |= Firmware(name, what.model, what.labels, arena.total, examples).files()
    texts[LABELS] = "".join(f"{label}\n" for label in what.labels)
    texts[CARD] = model_card(
        what.model,
        name=name,
        labels=what.labels,
        input_scale=what.input_scale,
        features=what.images.dtype != np.uint8,
        row=what.row,
        arena=arena,
        refusal=refusal,
        examples=len(what.images) if arena else 0,
    )
    if what.row is not None:
        texts[ROW] = json.dumps(what.row.record(), indent=2, sort_keys=True) + "\n"
    return {f"{name}.tflite": what.model.content} | {n: t.encode() for n, t in texts.items()}


def _arena(model: TFLiteModel) -> tuple[Arena | None, str]:
    try:
        return interpreter.arena(model.content), ""
    except NotOnMicro as refused:
        return None, f"{refused.why}; {refused.way}."
