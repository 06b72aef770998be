"""`compress zoo`: list the installed trained models."""

from __future__ import annotations

from dataclasses import asdict

from compress import zoo
from compress.cli import console
from compress.rows.result import Result


def show(as_json: bool) -> None:
    """List the models of the zoo with their measurements."""
    models = zoo.models().values()
    if as_json:
        console.say_json([asdict(model) | {"file": str(model.file)} for model in models])
        return
    console.print_records([_table_row(model) for model in models])
    console.say(
        "",
        "Any command takes one in place of a model file, as in: compress run --model zoo:baseline quantize",
    )


def _table_row(model: zoo.ZooModel) -> dict[str, object]:
    try:
        row = Result.from_record(model.row)
    except ValueError as error:
        raise ValueError(f"{model.file.with_suffix('.json')}: {error}") from error
    return {
        "model": f"{zoo.PREFIX}{model.name}",
        "parameters": row.stored_params,
        ".tflite bytes": row.file_bytes,
        "top-1, %": f"{100 * row.top1:.2f}",
        "measured on": f"{row.test_images:,} {row.measured_on} images of {row.data}",
        "what": model.about or row.label,
    }
