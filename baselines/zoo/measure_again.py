"""Measure a model of the zoo again and write the new row into its manifest.

Usage: `python -m baselines.zoo.measure_again NAME [DATA]`. Use it after a change of what is measured or exported.
Use `--on test` for the final measurement of a model that was chosen on validation images. The fields that say where,
when and with what the model was trained move to `trained`, beside the row.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from compress import registry, zoo
from compress.files import write_json
from compress.measurement.measure import digest_of_test, measure
from compress.model_files.load import load_model
from compress.rows.measurement import MeasuredOn, Measurement
from compress.rows.result import SCHEMA, Result
from compress.runs import provenance, seen
from compress.text import sentence_of
from compress.tflite.model import TFLiteModel

OF_TRAINING = ("commit", "command", "versions", "machine", "time", "seconds", "peak_memory_bytes")


def measure_again(
    manifest: Path, model: Path, data: Path | None, command: str, on: MeasuredOn | None = None
) -> Result:
    """Measure a model again, write its new row with the command that asked for it, and return the row.

    Args:
      on: the images to measure on. None: the images that the row was measured on.

    Raises:
      ValueError: the data differ from those of the row, or the model was trained on the images to measure on.
    """
    content: dict[str, Any] = json.loads(manifest.read_text())
    before = Result.from_record(content["result"])
    task = registry.task(before.task)
    dataset = task.load(data, lambda sentence: None)
    on = on or before.measured_on
    seen.check_unseen(on, before.trained_on, f"{model.name} was trained on validation images too")
    there = {"train": dataset.train.digest, "validation": dataset.validation.digest}
    if "test" in (on, *before.splits):
        there["test"] = digest_of_test(dataset)
    for name, digest in before.splits.items():
        if there[name] != digest:
            raise ValueError(
                f"these are not the {name} images that the row of {model.name} is about."
            )
    loaded = load_model(model)
    file = loaded if isinstance(loaded, TFLiteModel) else loaded.to_tflite()
    found, predicted = measure(file, dataset, task.input_scale, on=on)
    numbers = {f.name: getattr(found, f.name) for f in dataclasses.fields(Measurement)}
    row = dataclasses.replace(
        before,
        **numbers,
        splits=there,
        predictions=predicted.digest if before.predictions else None,
        commit=provenance.commit(),
        command=command,
        versions=provenance.versions(),
        machine=provenance.machine(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        schema=SCHEMA,
    )
    trained = content.get("trained") or {name: content["result"][name] for name in OF_TRAINING}
    write_json(manifest, content | {"result": row.record(), "trained": trained})
    return row


@click.command()
@click.argument("name")
@click.argument("data", type=click.Path(path_type=Path, exists=True), required=False)
@click.option(
    "--on", type=click.Choice(["validation", "test"]), help="The same as before if not given."
)
def main(name: str, data: Path | None, on: MeasuredOn | None) -> None:
    """Measure the model NAME of the zoo again, on DATA, and keep that as its row."""
    command = shlex.join(["python", "-m", "baselines.zoo.measure_again", *sys.argv[1:]])
    with errors_in_one_sentence():
        file = zoo.file_of(zoo.PREFIX + name.removeprefix(zoo.PREFIX))
        measure_again(file.with_suffix(".json"), file, data, command, on)


@contextlib.contextmanager
def errors_in_one_sentence() -> Iterator[None]:
    """End a command that raises OSError or ValueError with exit code 1 and the error's sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise click.ClickException(sentence_of(error)) from error


if __name__ == "__main__":
    main()
