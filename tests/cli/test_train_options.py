"""`compress train` has the options of the named network, and shows its size without data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from baselines.toy import Toy
from compress.cli.main import cli


def shown(*words: str) -> str:
    done = CliRunner().invoke(cli, ["train", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("words", [[], ["--network", "baseline"]], ids=str)
def test_help_has_only_the_options_of_the_named_network(words: list[str]) -> None:
    assert "--width " in shown("--task", "toy", *words, "--help")
    residual = shown("--task", "toy", "--network", "residual", "--help")
    assert "--width " not in residual
    assert "--filters NUMBERS" in residual
    assert "[default: 8,4]" in residual


def test_help_lists_every_network_with_its_options_and_recipes() -> None:
    text = " ".join(shown("--help").split())
    assert (
        "Network airbench of task cifar10: options --widths, --momentum; recipes: teacher" in text
    )
    assert "Network residual of task toy: options --filters, --blocks; recipes: residual" in text


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["before", "after"])
def test_options_of_a_network_may_come_before_or_after_its_name(order: slice) -> None:
    pairs = [["--network", "residual"], ["--blocks", "2"], ["--filters=4,2"], ["--task", "toy"]]
    words = [word for pair in pairs[order] for word in pair]
    record = json.loads(shown(*words, "--dry-run", "--json"))
    assert record["options"] == {"filters": [4, 2], "blocks": 2}


def test_a_dry_run_shows_the_size_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: Any) -> None:
        raise AssertionError("A dry run needs no data.")

    monkeypatch.setattr(Toy, "load", refuse)
    words = ["--task", "toy", "--network", "residual", "--dry-run"]
    record = json.loads(shown(*words, "--json"))
    # conv0 9*3*8 + 8; conv1a 9*8*4 + 4, its normalization folded; conv1b 9*4*8 + 8; logits 8*3 + 3.
    assert record["params"] == 224 + 292 + 296 + 27
    assert record["macs"] == 36 * (216 + 288 + 288) + 24
    assert record["float32_bytes"] > record["int8_bytes"] > record["int4_bytes"] > 0
    assert "parameters            839, with BatchNormalization folded" in shown(*words)
    assert not list(Path().iterdir())


def test_a_network_is_trained_by_its_own_recipe_and_reused() -> None:
    words = ["--task", "toy", "--network", "residual", "--blocks", "2", "--epochs", "1", "--json"]
    first = json.loads(shown(*words))
    assert first["result"]["label"] == (
        "train --network residual --recipe residual --blocks 2 --epochs 1"
    )
    again = CliRunner().invoke(cli, ["train", *words])
    assert "reused from" in again.stderr
    assert json.loads(again.stdout)["result"] == first["result"]


def test_naming_the_first_network_is_the_same_run_as_naming_none() -> None:
    words = ["--task", "toy", "--epochs", "0", "--json"]
    first = json.loads(shown(*words))["result"]
    assert first["label"] == "train --recipe toy --epochs 0"
    assert json.loads(shown(*words, "--network", "baseline"))["result"] == first
