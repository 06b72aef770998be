"""Add the model of a run to the zoo: a Keras model, measured with its weights in 16 bits, or a `.tflite` file as it is.

Usage: `python -m baselines.zoo.add RUN_FOLDER NAME [DATA]`. A stored Keras model has half as many bytes; after loading,
its weights are float32 again. If the last stage of a run gives a `.tflite` file, the row of the run is about that
file and is kept.
"""

from __future__ import annotations

import dataclasses
import io
import shlex
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from baselines.zoo.measure_again import errors_in_one_sentence, measure_again
from compress.files import write_json
from compress.model_files.load import load_model
from compress.rows.result import Result
from compress.runs.folder import ROWS, RunFolder

FOLDER = Path(__file__).parent
WEIGHTS = "model.weights.h5"  # name inside a .keras file


def add(run: Path, folder: Path, name: str, data: Path | None, command: str) -> Result:
    """Copy model, manifest and log (if any) of a run into a folder, measure the stored file, and return its row.

    Args:
      run: the run folder of a training or of a pipeline. The file is measured on test images if the run was, and
        otherwise on validation images.
      data: the data, as for `--data` of `compress`.

    Raises:
      ValueError: the name is not a plain file name, the run is not finished, a weight is beyond the range of float16,
        or the data are not those of the run. The folder is then unchanged.
    """
    if Path(name).name != name or name in ("", ".."):
        raise ValueError(
            f"{name!r} is no name of a file; expected one without a folder, as in r14."
        )
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        row = _measured(run, Path(unfinished), name, data, command)
        # The manifest is moved last, because a model without a manifest is not listed.
        for part in sorted(Path(unfinished).iterdir(), key=lambda p: p.suffix == ".json"):
            part.replace(folder / part.name)
    return row


def _measured(run: Path, folder: Path, name: str, data: Path | None, command: str) -> Result:
    """Do the work of `add` in an empty folder."""
    if not (finished := RunFolder(run).load()):
        raise ValueError(f"{run} is not the folder of a finished run.")
    file, manifest = folder / f"{name}.keras", folder / f"{name}.json"
    rest = {k: v for k, v in finished.manifest.items() if k not in ROWS.values()}
    row = finished.row
    if not RunFolder(run).model_file("keras").exists():
        shutil.copy(RunFolder(run).model_file("tflite"), file.with_suffix(".tflite"))
        write_json(manifest, {"result": row.record(), **rest})
        return row
    in_half_precision(run / "model.keras", file)
    if (log := RunFolder(run).log).exists():
        shutil.copy(log, file.with_suffix(".csv"))
    if not row.pipeline:  # a training; the row of a pipeline names the model that it began with
        digest = load_model(file).digest
        row = dataclasses.replace(row, model=digest)
        rest["summary"] = {**rest["summary"], "digest": digest}
    write_json(manifest, {"result": row.record(), **rest})
    return measure_again(manifest, file, data, command)


def in_half_precision(source: Path, target: Path) -> None:
    """Copy a .keras file with its float32 weights stored as float16. ValueError if a weight is out of range."""
    with zipfile.ZipFile(source) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    parts[WEIGHTS] = _in_half(parts[WEIGHTS])
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name, part in parts.items():
            new.writestr(zipfile.ZipInfo(name), part, zipfile.ZIP_DEFLATED)


def _in_half(content: bytes) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as old, h5py.File(buffer, "w") as new:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                copied = new.require_group(name)
            else:
                copied = new.create_dataset(name, data=_half(name, item[()]))
            copied.attrs.update(item.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy)
    return buffer.getvalue()


def _half(name: str, weights: np.ndarray) -> np.ndarray:
    if weights.dtype != np.float32:
        return weights
    largest = np.abs(weights).max(initial=0)
    if largest > np.finfo(np.float16).max:
        raise ValueError(
            f"{name} has a weight of {largest:g}; expected at most 65,504, which float16 can hold."
        )
    return weights.astype(np.float16)


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("name")
@click.argument("data", type=click.Path(path_type=Path, exists=True), required=False)
def main(run: Path, name: str, data: Path | None) -> None:
    """Add what the run in the folder RUN made to the zoo, as NAME, measured on DATA."""
    command = shlex.join(["python", "-m", "baselines.zoo.add", *sys.argv[1:]])
    with errors_in_one_sentence():
        add(run, FOLDER, name, data, command)


if __name__ == "__main__":
    main()
