"""`compress doctor --target micro`: checks before any work whether TFLM runs a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compress.cli.main import cli
from compress.keras_models.model import KerasModel
from support.tflite_examples import functional, three_layers_model


def doctor(model: Any, folder: Path, *words: str) -> Any:
    model.save(folder / "net.keras")
    return CliRunner().invoke(
        cli, ["doctor", str(folder / "net.keras"), "--target", "micro", *words]
    )


def test_the_arena_size_and_the_layers_that_int4_keeps_in_8_bits_are_reported(
    tmp_path: Path,
) -> None:
    done = doctor(three_layers_model(), tmp_path, "--json", "quantize")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["on_target"]
    assert found["runs"] is True
    assert found["arena_bytes"] > 6 * 6 * 4
    assert [name.split("_")[0] for name in found["in_8_bits_with_int4"]] == ["dense"]


def test_an_operator_that_tflm_lacks_is_named_and_gives_exit_code_1(tmp_path: Path) -> None:
    gelu = ("Activation", {"activation": "gelu"})
    done = doctor(
        functional((8, 8, 1), gelu, ("Flatten", {}), ("Dense", {"units": 2})), tmp_path, "quantize"
    )
    assert done.exit_code == 1
    assert "TFLM does not run the model in int8: it has no kernel for GELU" in done.stdout


def test_with_fix_tflm_runs_the_rewritten_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers: list[list[str]] = []

    def on_micro(model: KerasModel) -> dict[str, Any]:
        layers.append([type(layer).__name__ for layer in model.keras.layers])
        return {"runs": True}

    monkeypatch.setattr("compress.cli.doctor_command.on_micro", on_micro)
    flip = ("RandomFlip", {"name": "flip"})
    model = functional((8, 8, 1), flip, ("Flatten", {}), ("Dense", {"units": 2}))
    done = doctor(model, tmp_path, "--json", "--fix", str(tmp_path / "better.keras"), "prune")
    assert done.exit_code == 0, done.output
    assert layers == [["InputLayer", "Flatten", "Dense"]]


def test_the_install_command_is_named_if_tflite_micro_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.micro.interpreter.is_installed", lambda: False)
    done = doctor(three_layers_model(), tmp_path, "quantize")
    assert done.exit_code == 1
    assert "pip install 'compress-cnn[micro]'" in done.stderr
