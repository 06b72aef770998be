"""Measure how many bytes slim files save: `slim_files.py [FILE.tflite | PACKAGE.whl]...`.

The files are exports of the CIFAR-10 baseline and of a residual network of reports/strangers, as converters write them,
one file of the package tflite-micro, and those given (all in a wheel). The script slims each file like
`compress slim`, which proves that LiteRT computes the same. If TFLM runs a file, the script also compares the outputs
of TFLM for both files, bit for bit. It writes slim_files.json beside itself and docs/measured/slim.md from it.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from growth_page import made
from whole_process import keep

HERE = Path(__file__).parent
RESULT = HERE / "slim_files.json"
PAGE = HERE.parents[1] / "docs" / "measured" / "slim.md"
SCHEMES = ("float32", "int8", "int16x8", "int4")
IMAGES = 64  # images that calibrate the exports
RESIDUAL = HERE.parent / "strangers" / "models" / "residual.keras"  # it takes raw pixels
SINE = "python/tflite_micro/sine_float.tflite"
HEAD = """# Slim files: bytes saved

The table compares `.tflite` files as they were made with their [slim](../slim.md) forms. LiteRT computes the same
outputs from both files, bit for bit. Where the last column says "equal", TFLM computes the same outputs from both files
for four inputs of random numbers.

| file | bytes | slim bytes | saved | in TFLM |
|---|---|---|---|---|
"""


def exports(name: str, model: Any, images: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each file of a model, as converters write it."""
    from compress.quantization import int4
    from compress.tflite.convert import converted
    from compress.tflite.model import TFLiteModel

    as_written = mock.patch.object(int4, "slim_export", lambda content, _: TFLiteModel(content))
    for scheme in SCHEMES:
        if scheme == "int4":
            with as_written:
                yield f"{name}, int4", int4.export(model, int4.possible(model), images).content
        else:
            calibration = None if scheme == "float32" else images
            yield f"{name}, {scheme}", converted(model.keras, scheme, calibration)


def made_here() -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files of two networks."""
    from compress import zoo
    from compress.model_files.load import load_model
    from compress.registry import task

    pixels = task("cifar10").load(None, lambda _: None).train.images[:IMAGES].astype(np.float32)
    baseline, residual = load_model(zoo.models()["baseline"].file), load_model(RESIDUAL)
    yield from exports("the CIFAR-10 baseline", baseline, pixels / 255)
    yield from exports(f"{RESIDUAL.name} of reports/strangers", residual, pixels)


def brought(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files from elsewhere: one of tflite-micro, and those given."""
    package = files("tflite_micro") / SINE
    yield f"{package.name} (tflite-micro)", package.read_bytes()
    for path in paths:
        if path.suffix != ".whl":
            yield path.name, path.read_bytes()
            continue
        with zipfile.ZipFile(path) as wheel:
            for name in sorted(n for n in wheel.namelist() if n.endswith(".tflite")):
                yield f"{Path(name).name} ({path.name.partition('-')[0]})", wheel.read(name)


def in_tflm(content: bytes, slim: bytes) -> str:
    """The comparison of TFLM's outputs for both files, or why TFLM does not run them."""
    from compress.micro import interpreter
    from compress.micro.refusal import NotOnMicro
    from compress.tflite.model import TFLiteModel

    graph = TFLiteModel(content).graph
    shape = graph.inputs[0].shape[1:]
    drawn = np.random.default_rng(0).random((4, *shape), np.float32)
    try:
        before, after = (interpreter.scores(each, drawn, 1.0) for each in (content, slim))
    except NotOnMicro as refused:
        return f"does not run: {refused.why}"
    return "equal" if np.array_equal(before, after) else "unequal"


def measured(name: str, content: bytes) -> dict[str, Any]:
    """The sizes of one file before and after slimming, and the result on TFLM."""
    from compress.tflite.slim_proof import proven_slim

    try:
        slim = proven_slim(content)
    except ValueError as refused:
        raise SystemExit(f"{name}: {refused}") from refused
    found = {"file": name, "bytes": len(content), "slim": len(slim), "tflm": in_tflm(content, slim)}
    print(found, flush=True)
    return found


def page() -> str:
    """The page, made from the stored result."""
    kept: dict[str, Any] = json.loads(RESULT.read_text())
    lines = [HEAD]
    for each in kept["files"]:
        less = 1 - each["slim"] / each["bytes"]
        sizes = f"{each['bytes']:,} | {each['slim']:,} | {less:.1%}"
        lines.append(f"| {each['file']} | {sizes} | {each['tflm']} |\n")
    return "".join([*lines, "\n", made(kept), "\n"])


def main() -> None:
    all_files = chain(made_here(), brought(list(map(Path, sys.argv[1:]))))
    found = [measured(*each) for each in all_files]
    keep(RESULT, {"what": "bytes of files as they were made, and slim", "files": found})
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
