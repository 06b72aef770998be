"""`compress latency`: time a `.tflite` file, alone or against another."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from compress.cli import console
from compress.measurement.latency import milliseconds, ratio
from compress.rows.jsonl import append_to
from compress.rows.latency import LatencyRow, read_latencies
from compress.runs import provenance
from compress.tflite.model import TFLiteModel

ENGINE = "LiteRT with XNNPACK, one thread, batch 1"


def latency(
    file: Path, against: Path | None, rounds: int, inputs: int, results: Path | None, as_json: bool
) -> None:
    """Time a file, alone or against another, show the times, and append a row if `results` is given.

    Raises:
      ValueError: a file is not a `.tflite` file, LiteRT does not run it, or `results` holds other rows.
    """
    if results is not None and results.is_file():
        _check_latencies(results)
    paths = [path for path in (against, file) if path is not None]
    models = [TFLiteModel.load(path) for path in paths]
    times = milliseconds([model.content for model in models], rounds, inputs)
    found = ratio(times) if against else None
    row = LatencyRow(
        files=list(map(_described, paths, models)),
        ratio=found.median if found else None,
        ratio_low=found.low if found else None,
        ratio_high=found.high if found else None,
        milliseconds=np.round(times, 5).tolist(),
        inputs_a_round=inputs,
        engine=ENGINE,
        instruction_sets=provenance.instruction_sets(),
        machine=provenance.machine(),
        versions=provenance.versions(),
        commit=provenance.commit(),
        command=shlex.join(["compress", *sys.argv[1:]]).encode(errors="backslashreplace").decode(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if results is not None:
        append_to(results, row)
    if as_json:
        console.say(row.to_json())
        return
    shown = {
        str(path): f"{float(np.median(times[:, place])):.3f} ms for one input"
        for place, path in enumerate(paths)
    }
    if found:
        shown["ratio"] = f"{found.median:.3f} (95 % interval {found.low:.3f} to {found.high:.3f})"
    shown["measured with"] = f"{ENGINE}, {rounds} rounds of {inputs} inputs"
    shown["processor"] = (
        f"{row.machine}; has {', '.join(row.instruction_sets) or 'none of the known sets'}"
    )
    console.print_pairs(shown)


def _check_latencies(results: Path) -> None:
    """Raise ValueError if a file holds other rows: with a latency among them, no command would read it."""
    try:
        read_latencies(results)
    except ValueError as error:
        raise ValueError(
            f"{results} has a line that is not a row of `compress latency`: name another file for latencies, "
            "such as reports/latency.jsonl."
        ) from error


def _described(path: Path, model: TFLiteModel) -> dict[str, Any]:
    graph = model.graph
    return {
        "file": path.name,
        "digest": model.digest,
        "bytes": len(model.content),
        "macs": sum(operator.macs for operator in graph.operators),
        "input": graph.inputs[0].dtype if graph.inputs else "none",
    }
