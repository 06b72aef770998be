"""The training benchmark: the summary of its rounds, and that our side of it trains. No timing is tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.scripts import load_script

SCRIPT = Path(__file__).parents[1] / "reports" / "benchmarks" / "training_speed.py"


def test_the_summary_compares_the_faster_precision_of_each_side_per_round() -> None:
    script = load_script(SCRIPT)

    def spent(images: float, cpu: float) -> dict[str, float]:
        return {"images_a_second": images, "cpu_ms_a_step": cpu}

    rounds = [
        {
            "compress float32": spent(100, 20), "compress bfloat16": spent(180 * slow, 12),
            "torch float32": spent(150, 16), "torch bfloat16": spent(200 * slow, 10),
        }
        for slow in (1, 1, 0.1)
    ]  # fmt: skip
    found = script.summary(rounds)
    assert found["ours_over_torch"] == {"images_a_second": 0.9, "cpu_ms_a_step": 0.833}
    assert found["medians"]["torch bfloat16"] == spent(200, 10)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["plain", "r14"])
def test_our_training_process_answers_each_turn(network: str) -> None:
    words = [sys.executable, str(SCRIPT), "--train", network, "bfloat16"]
    done = subprocess.run(words, input="\n\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    turns = [json.loads(line) for line in done.stdout.splitlines()]
    assert [set(turn) for turn in turns] == [{"wall", "cpu"}] * 2
