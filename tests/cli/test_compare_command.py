"""`compress compare`: rows and what is said where a word names none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from compress.cli import compare_command
from compress.cli.main import cli
from compress.rows.jsonl import append_to
from support.report_rows import bits, digest, flipped, pruned, row

BASE = bits(9000)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    for made in (row(BASE), pruned(flipped(BASE, 400, 100)), pruned(BASE, 0.9, run=digest("a"))):
        append_to(path, made)
    return path


def compared(results: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *words, "--results", str(results)])


def test_two_rows_are_compared_by_label_or_by_run(results: Path) -> None:
    run = digest("a")[:12]
    done = compared(results, "prune --sparsity 0.5", run)
    assert done.exit_code == 0, done.output
    assert f"is less accurate than prune --sparsity 0.9 (run {run}), by -3.00" in done.stdout
    assert (
        "Of 10,000 test images the first alone gets 100 right, the second alone 400" in done.stdout
    )


def test_json_has_the_verdict_and_the_numbers(results: Path) -> None:
    record = json.loads(compared(results, "prune --sparsity 0.5", "baseline", "--json").stdout)
    assert record["difference"] == -0.03
    assert record["verdict"].startswith("prune --sparsity 0.5 (run ")
    assert record["b"]["file_bytes"] == 480_000


def test_a_word_that_names_nothing_or_too_much_ends_in_a_sentence(results: Path) -> None:
    done = compared(results, "nothing", "baseline")
    assert done.exit_code == 1
    assert "'nothing' is no model file, no run folder, and no row of" in done.stderr
    append_to(results, pruned(BASE, 0.5, seed=7, run=digest("b")))
    done = compared(results, "prune --sparsity 0.5", "baseline")
    assert done.exit_code == 1
    assert "names 2 runs of" in done.stderr
    assert "(seed 7); name one of them" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_baseline_under_two_seeds_is_one(results: Path) -> None:
    append_to(results, row(BASE, seed=3, run=digest("c")))
    assert compared(results, digest("a")[:12], "baseline").exit_code == 0


def test_rows_on_other_images_end_in_a_sentence(results: Path) -> None:
    append_to(results, row(bits(880, 1000), data="other", label="train other"))
    done = compared(results, "train other", "baseline")
    assert done.exit_code == 1
    assert "only models measured on the same images are compared" in done.stderr


def test_a_page_is_written_beside_what_is_printed(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "pair.html"
    done = compared(results, "prune --sparsity 0.5", "baseline", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert "is less accurate than baseline" in done.stdout
    assert "is less accurate than baseline" in page.read_text()


def test_files_are_timed_in_turn_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[tuple[int, ...]] = []

    def first_takes_half(files: Sequence[bytes], rounds: int, inputs: int) -> np.ndarray:
        timed.append(tuple(map(len, files)))
        return np.array([[2.0, 1.0]] * rounds)

    monkeypatch.setattr(compare_command, "milliseconds", first_takes_half)
    words = ["run", "--task", "toy", "prune-filters", "--epochs", "0"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    (folder,) = Path("runs").glob("prune-filters*")
    words = ["compare", str(folder), "zoo:toy", "--task", "toy", "--latency", "--json"]
    record = json.loads(CliRunner().invoke(cli, words).stdout)
    assert record["latency"] == {"ratio": 0.5, "low": 0.5, "high": 0.5}
    assert record["verdict"].endswith(
        "of its bytes and 50.0 % of its time (50.0 % to 50.0 %) here."
    )
    assert timed == [(record["b"]["file_bytes"], record["a"]["file_bytes"])]


def test_a_row_without_a_file_is_not_timed(results: Path) -> None:
    done = compared(results, "baseline", "prune --sparsity 0.5", "--latency")
    assert done.exit_code == 1
    assert "--latency times files, and 'baseline' is a row: name its run folder" in done.stderr
