"""Documentation that a test reads cannot be wrong for long."""

from __future__ import annotations

import glob
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from baselines.toy import Toy
from compress import registry
from compress.api import write_pages
from compress.cli.main import cli
from compress.pipelines import toml_file
from compress.report import comparison_page, tables
from compress.report.references import read_references
from compress.rows.jsonl import read_from
from compress.training_stage import TrainingStage
from support.tflite_examples import functional

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted(ROOT.glob("docs/**/*.md"))
REPORTS = ROOT / "reports"
# The test plugin is installed while tests run; these pages are only about shipped stages.
SHIPPED = [n for n in registry.stage_names() if n != "round"]
# Commands that train, with options for a short training; a given rate skips the learning-rate search of a stage.
TRAINING = [n for n in SHIPPED if issubclass(registry.stage(n), TrainingStage)]
BRIEF = {"train": "--epochs 1"} | dict.fromkeys(TRAINING, "--epochs 1 --learning-rate 0.01")


def reference() -> str:
    """The help of every command, as docs/cli.md shows it."""
    parts = [
        "# Command reference\n\n"
        "Generated from the help texts by `pytest tests/test_docs.py --update-golden`.\n"
    ]
    for name in ["", *cli.commands, *SHIPPED]:
        words = [*([name] if name else []), "--help"]
        shown = CliRunner().invoke(cli, words, prog_name="compress", terminal_width=100).output
        shown = re.sub(r"\n  round .*", "", shown)
        parts.append(f"## compress {name}".rstrip() + f"\n\n```text\n{shown.strip()}\n```\n")
    return "\n".join(parts)


MARK = re.compile(
    r"<!-- comparison of the first (\d+) rows, without: (.*?) -->\n(.*?)<!-- /comparison -->", re.S
)


def comparison(first: int, without: str) -> str:
    """The README table: the compact rows of seed 0 without some labels. Rows are only ever appended."""
    import pandas as pd

    rows = read_from(REPORTS / "results.jsonl")[:first]
    references = [p for n in {r.task for r in rows} for p in registry.task(n).references()]
    records = tables.compared_records(rows, read_references(references))
    left_out = without.split(" | ")
    assert set(left_out) <= {record["label"] for record in records}
    shown = [r for r in records if not r["seed"] and r["label"] not in left_out]
    return str(comparison_page.markdown_table(pd.DataFrame(tables.compact(shown))))


def readme_commands() -> list[list[str]]:
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", README.read_text(), re.S))
    lines = [line for line in blocks.splitlines() if line.startswith("compress ")]
    return [shlex.split(line, comments=True) for line in lines]


def briefly(words: list[str]) -> list[str]:
    """The words, with the options of `BRIEF` inserted after the options of each command or stage that trains."""
    said, after = list[str](), list[str]()
    for word in words:
        if word in ("train", *SHIPPED):
            said, after = [*said, *after], BRIEF.get(word, "").split()
        said.append(" ".join(briefly(word.split())) if " " in word else word)
    return [*said, *after]


def test_the_command_reference_shows_the_help_texts(update_golden: bool) -> None:
    page = ROOT / "docs" / "cli.md"
    if update_golden:
        page.write_text(reference())
    assert page.read_text() == reference()


def test_the_readme_table_is_made_from_the_committed_rows(update_golden: bool) -> None:
    shown = MARK.search(README.read_text())
    assert shown is not None
    if update_golden:
        first = len(read_from(REPORTS / "results.jsonl"))
        head = f"<!-- comparison of the first {first} rows, without: {shown[2]} -->"
        table = f"{head}\n{comparison(first, shown[2])}\n<!-- /comparison -->"
        README.write_text(README.read_text().replace(shown[0], table))
        shown = MARK.search(README.read_text())
        assert shown is not None
    assert shown[3].strip() == comparison(int(shown[1]), shown[2]).strip()
    assert "prune --sparsity 0.5" in shown[3]


def test_the_committed_report_is_made_from_the_committed_rows(tmp_path: Path) -> None:
    write_pages(REPORTS / "results.jsonl", tmp_path)
    # Pictures are bit for bit the same only with the same matplotlib: tests/report/test_plots.py is about them.
    for name in ("comparison.md", "comparison.csv"):
        assert (tmp_path / name).read_text() == (REPORTS / name).read_text(), name


def test_commands_of_the_readme_run(tmp_path: Path) -> None:
    """Each command runs unchanged except for the toy task, its baseline, and one training epoch at a given rate."""
    commands = readme_commands()
    assert ["compress", "run", "prune", "--sparsity", "0.5"] in commands
    baseline = tmp_path / "baselines" / "trained" / "baseline.keras"
    baseline.parent.mkdir(parents=True)
    baseline.write_bytes(Toy().baseline_path().read_bytes())
    for _, name, *words in map(briefly, commands):
        takes_task = name not in ("inspect", "report", "runs", "stages", "tasks", "zoo")
        done = CliRunner().invoke(cli, [name, *(["--task", "toy"] if takes_task else []), *words])
        assert done.exit_code == 0, (name, words, done.output)
        assert done.stdout


def test_the_five_readme_commands_for_microcontrollers_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the README run unchanged on a foreign model and foreign images."""
    block = README.read_text().split("in five commands", 1)[1].split("```shell\n", 1)[1]
    commands = [shlex.split(line) for line in block.split("```")[0].splitlines()]
    assert len(commands) == 5
    rng = np.random.default_rng(0)
    arrays = {
        f"{what}_{split}": made
        for split in ("train", "validation", "test")
        for what, made in (
            ("x", rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)),
            ("y", np.arange(40) % 3),
        )
    }
    monkeypatch.chdir(tmp_path)
    np.savez("photos.npz", **arrays)
    layers = (("Rescaling", {"scale": 1 / 255}), ("Conv2D", {"filters": 4, "kernel_size": 3}))
    functional((8, 8, 3), *layers, ("Flatten", {}), ("Dense", {"units": 3})).save("net.keras")
    for _, *words in commands:
        found = [sorted(glob.glob(word)) if "*" in word else [word] for word in words]
        done = CliRunner().invoke(cli, [word for each in found for word in each])
        assert done.exit_code == 0, (words, done.output)
    assert (tmp_path / "firmware" / "MODEL_CARD.md").exists()


def test_every_stage_has_a_page_that_the_readme_names() -> None:
    for name in SHIPPED:
        assert (ROOT / "docs" / "stages" / f"{name}.md").exists(), name
        assert f"docs/stages/{name}.md" in README.read_text(), name


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda p: p.name)
def test_links_of_a_page_lead_to_existing_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = re.findall(r"^python3\.11 -m venv .*$", README.read_text(), re.M)
    assert len(commands) == 2, "the README gives two: one to see it work, one to test it"
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert commands[1] in ci


def test_the_plugin_page_shows_the_tested_plugin() -> None:
    """The code in docs/adding-a-stage.md is that of tests/plugin, so following the page works."""
    page = (ROOT / "docs" / "adding-a-stage.md").read_text()
    block = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    plugin = (ROOT / "tests" / "plugin" / "compress_round.py").read_text()
    body = "def rounded"
    assert block[block.index(body) :].strip() == plugin[plugin.index(body) :].strip()
    assert len(block.splitlines()) < 60
    for line in re.findall(r"^from compress.* import .*$", block, re.M):
        exec(line, {})


def test_the_pipelines_file_has_every_compressed_row() -> None:
    plans = toml_file.read(REPORTS / "pipelines.toml", 0, None)
    planned = {(prefix.label, plan.seed) for plan in plans for prefix in plan.pipeline.prefixes()}
    rows = {(r.label, r.seed) for r in read_from(REPORTS / "results.jsonl") if r.pipeline}
    gone = {row for row in rows if "--method relations" in row[0]}  # an option of an older version
    assert len(rows) > len(gone) == 1
    assert rows - planned == gone


def test_every_public_name_is_on_the_api_page() -> None:
    import compress

    page = (ROOT / "docs" / "api.md").read_text()
    named = re.findall(r"^\.\. auto(?:class|function):: (\w+)$", page, re.M)
    assert sorted(named) == sorted(compress.__all__)
