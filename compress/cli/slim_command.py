"""`compress slim`: rewrite any `.tflite` file in fewer bytes."""

from __future__ import annotations

from pathlib import Path

from compress.cli import console
from compress.model_files.file_kind import suffix_of
from compress.tflite.flatbuffer import read
from compress.tflite.model import TFLiteModel
from compress.tflite.slim_proof import proven_slim


def slim(file: Path, out: Path | None, as_json: bool) -> None:
    """Write the slim form of a file to `out`, by default beside it, and show what that saved.

    Raises:
      ValueError: it is not a `.tflite` file, no slim form computes the same, or another file has the default name.
    """
    suffix = suffix_of(file)
    if suffix != ".tflite":
        raise ValueError(
            f"{file} is a {suffix} file; slim takes a .tflite file, and what `compress run` writes is slim already."
        )
    model = TFLiteModel.load(file)
    read(model.content)  # says what is damaged; LiteRT may not say it
    content = proven_slim(model.content)
    place = out or file.with_suffix(".slim.tflite")
    if out is None and place.exists() and place.read_bytes() != content:
        raise ValueError(
            f"{place} already exists with other content: name another file with --out."
        )
    TFLiteModel(content).save(place)
    before, after = len(model.content), len(content)
    if as_json:
        console.say_json(
            {"file": str(file), "out": str(place), "bytes_before": before, "bytes_after": after}
        )
        return
    console.print_pairs(
        {
            "file": f"{file}, {before:,} bytes",
            "slim": f"{place}, {after:,} bytes, {(before - after) / before:.1%} less",
            "outputs": "the same, bit for bit, with XNNPACK and without",
        }
    )
