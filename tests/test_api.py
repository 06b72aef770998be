"""The Python API does what the command line does, on the same kept runs, and prints nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import compress
from baselines.toy import Toy
from compress.cli.main import cli
from compress.rows.jsonl import read_from
from support.fresh_python import printed_by

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
WORDS = "prune --sparsity 0.5 --epochs 0"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> compress.api.Results:
    """The results of one pruning run in a separate folder."""
    folder = tmp_path_factory.mktemp("api")
    return compress.run(
        WORDS, task="toy", out=folder / "runs", results=folder / "reports" / "results.jsonl"
    )


def where(first: compress.api.Results) -> dict[str, Path]:
    return {"out": first.out, "results": first.out.parent / "reports" / "results.jsonl"}


def test_the_code_on_the_page_runs_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S))
    exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})  # our own page
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert Path("reports/comparison.md").exists()


def test_the_command_line_reuses_runs_of_the_python_api(
    first: compress.api.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(first.out.parent)
    done = CliRunner().invoke(cli, ["run", "--task", "toy", *WORDS.split()])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("reused from") == 2


def test_stage_objects_give_the_same_run_as_text(first: compress.api.Results) -> None:
    again = compress.run([compress.Prune(sparsity=0.5, epochs=0)], task=Toy(), **where(first))
    assert again.rows == first.rows
    assert read_from(where(first)["results"]) == list(first.rows)


def test_a_model_in_memory_gives_the_same_run_as_its_file(first: compress.api.Results) -> None:
    path = Toy().baseline_path()
    assert path is not None
    model = compress.load(path)
    again = compress.run(WORDS, model=model, task="toy", **where(first))
    assert again.rows == first.rows


def test_results_give_the_kept_file_model_and_table(first: compress.api.Results) -> None:
    assert first.file.stat().st_size == first.rows[-1].file_bytes
    assert (first.model.kernels()["conv2"] == 0).mean() == 0.5
    assert list(first.table()["label"]) == ["baseline", "prune --sparsity 0.5 --epochs 0"]
    assert "50.0 %" in first._repr_html_()


def test_a_file_and_a_model_give_the_same_measurement(first: compress.api.Results) -> None:
    by_file, by_model = (compress.evaluate(m, task="toy") for m in (first.file, first.model))
    assert by_file == by_model
    assert by_file.top1 == first.rows[-1].top1
    assert compress.evaluate(first.file, task="toy", on="validation").measured_on == "validation"


def test_wrong_stages_and_options_are_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"no stage 'prun'.*Did you mean 'prune'"):
        compress.run("prun --sparsity 0.5", task="toy")
    with pytest.raises(ValueError, match="sparsity"):
        compress.run("prune --sparsity 5", task="toy")
    with pytest.raises(ValueError, match="quantize gives a tflite model but prune takes keras"):
        compress.run("quantize prune", task="toy")
    assert not Path("runs").exists()


def test_doctor_checks_the_named_stages(first: compress.api.Results) -> None:
    (diagnosis,) = compress.doctor(first.model, "prune")
    assert (diagnosis.stage.name, diagnosis.verdict) == ("prune", "yes")
    assert {d.stage.name for d in compress.doctor(first.model)} >= {"prune", "qat", "distill"}


def test_public_names_are_available_without_importing_tensorflow() -> None:
    code = (
        "import compress, sys; [getattr(compress, n) for n in compress.__all__];"
        "print(sorted({'tensorflow', 'keras', 'pandas', 'matplotlib', 'altair'} & set(sys.modules)))"
    )
    assert printed_by(code) == "[]"
