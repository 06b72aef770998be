"""`compress compare`: compared rows, and the errors for words that name no row."""

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


def test_a_word_that_names_no_run_or_two_runs_is_refused(results: Path) -> None:
    done = compared(results, "nothing", "baseline")
    assert done.exit_code == 1
    assert "'nothing' is not a model file, a run folder or a row of" in done.stderr
    append_to(results, pruned(BASE, 0.5, seed=7, run=digest("b")))
    done = compared(results, "prune --sparsity 0.5", "baseline")
    assert done.exit_code == 1
    assert "names 2 runs of" in done.stderr
    assert "(seed 7); name one of them" in done.stderr
    assert done.stderr.count("\n") == 1


def test_baselines_of_two_seeds_count_as_one(results: Path) -> None:
    append_to(results, row(BASE, seed=3, run=digest("c")))
    assert compared(results, digest("a")[:12], "baseline").exit_code == 0


def test_rows_on_different_images_are_refused(results: Path) -> None:
    append_to(results, row(bits(880, 1000), data="other", label="train other"))
    done = compared(results, "train other", "baseline")
    assert done.exit_code == 1
    assert "only models measured on the same images are compared" in done.stderr


def test_html_writes_a_page_besides_the_printed_text(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "pair.html"
    done = compared(results, "prune --sparsity 0.5", "baseline", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert "is less accurate than baseline" in done.stdout
    assert "is less accurate than baseline" in page.read_text()


def test_latency_times_both_files_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_latency_of_a_row_without_a_file_is_refused(results: Path) -> None:
    done = compared(results, "baseline", "prune --sparsity 0.5", "--latency")
    assert done.exit_code == 1
    assert "--latency times files, and 'baseline' is a row: name its run folder" in done.stderr
