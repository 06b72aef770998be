"""`compress inspect --target` and `--micro-accuracy`: a file on a microcontroller, as tables and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from compress.cli.main import cli
from support.tflite_examples import export, int8, three_layers_model

SEEN = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)


@pytest.fixture(scope="module")
def content() -> bytes:
    return export(three_layers_model(), int8(SEEN))


@pytest.fixture
def file(content: bytes, tmp_path: Path) -> str:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    return str(path)


def test_the_arena_and_the_tensors_that_fill_it_are_reported(file: str, content: bytes) -> None:
    record = json.loads(
        CliRunner().invoke(cli, ["inspect", file, "--target", "micro", "--json"]).stdout
    )
    assert record["runs"] is True
    assert record["file_bytes"] == len(content)
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= set(record["operators"])
    assert record["arena_bytes"] == record["arena_head_bytes"] + record["arena_tail_bytes"]
    alive = sum(tensor["bytes"] for tensor in record["alive_at_peak"])
    assert alive == record["peak_bytes"] == 6 * 6 * 4 + 5 * 5 * 4  # of the depthwise convolution


def test_the_table_says_how_it_was_measured(file: str) -> None:
    shown = CliRunner().invoke(cli, ["inspect", file, "--target", "micro"]).stdout
    assert "x86-64, reference kernels" in shown
    assert "[1, 6, 6, 4]" in shown


def test_a_file_that_tflm_cannot_run_is_reported_with_the_reason_and_a_remedy(
    tmp_path: Path,
) -> None:
    from support.tflite_examples import float16

    path = tmp_path / "half.tflite"
    path.write_bytes(export(three_layers_model(), float16))
    done = CliRunner().invoke(cli, ["inspect", str(path), "--target", "micro", "--json"])
    record = json.loads(done.stdout)
    assert record["runs"] is False
    assert record["why"] == "its weights are float16"
    assert "quantize --scheme int8" in record["what_to_do"]


def test_an_estimate_of_vela_is_labeled_as_an_estimate(file: str) -> None:
    record = json.loads(
        CliRunner().invoke(cli, ["inspect", file, "--target", "ethos-u55-128", "--json"]).stdout
    )
    assert record["kind"] == "estimate of Arm's compiler Vela, no measurement"
    assert record["cpu_operators"] == {}


def test_bytes_and_target_together_are_refused(file: str) -> None:
    done = CliRunner().invoke(cli, ["inspect", file, "--bytes", "--target", "micro"])
    assert done.exit_code == 2
    assert "show different things: give one of them" in done.stderr
