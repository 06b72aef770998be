"""Models of users run through the stages that train if the doctor says that the stages can work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compress.cli.main import cli
from support.model_zoo import NAMES, saved

PIPELINES = {
    "cluster": "cluster --clusters 4 --epochs 0",
    "distill": "distill --student {path} --epochs 1",
    "prune-filters": "prune-filters --macs 0.3 --round-to 1 --epochs 1 --learning-rate 0.01",
    "qat": "qat --epochs 1 --learning-rate 0.01 --calibration 8",
}
# The other models take a minute together.
IN_EVERY_RUN = {"depthwise"}


def compress(*words: str) -> Any:
    return CliRunner().invoke(cli, list(words))


@pytest.mark.parametrize(
    "name", [n if n in IN_EVERY_RUN else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_training_stages_treat_a_model_as_the_doctor_says(name: str, tmp_path: Path) -> None:
    path = saved(name, tmp_path)
    words = {stage: run.format(path=path) for stage, run in PIPELINES.items()}
    for run in words.values():
        asked = compress("doctor", str(path), "--json", *run.split())
        assert asked.exit_code == 0, asked.output
        assert [o["can_work"] for o in json.loads(asked.stdout)["stages"]] == [True]
    file = tmp_path / "all.toml"
    file.write_text(
        "\n".join(f'[[pipeline]]\nname = "{s}"\nrun = "{run}"\n' for s, run in words.items())
    )
    ran = compress("run", "--task", "toy", "--model", str(path), "--pipeline", str(file), "--json")
    assert ran.exit_code == 0, ran.output
    rows = {p["name"]: p["rows"] for p in json.loads(ran.stdout)}
    before = rows["qat"][0]
    assert rows["prune-filters"][-1]["macs"] <= 0.7 * before["macs"]
    assert rows["distill"][-1]["macs"] == before["macs"]
    assert rows["cluster"][-1]["gzip_bytes"] < before["gzip_bytes"]
    assert set(rows["qat"][-1]["weight_types"]) <= {"int8", "int32"}
