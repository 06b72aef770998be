"""The study against handwritten scripts: everything it names exists, and the scripts do not import the toolkit."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from compress.pipelines.words import stages_of

FOLDER = Path(__file__).parents[1] / "reports" / "study"
MATCHES = tomllib.loads((FOLDER / "study.toml").read_text())["match"]
SCRIPTS = sorted((FOLDER / "by_hand").glob("*.py"))


def test_every_pipeline_of_the_study_parses_and_every_script_exists() -> None:
    assert len(MATCHES) > 5
    for match in MATCHES:
        for words in (match["ours"], *match.get("controls", [])):
            assert stages_of(words)
        for words in match.get("by_hand", []):
            assert FOLDER / "by_hand" / shlex.split(words)[0] in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_handwritten_script_imports_nothing_of_the_toolkit(script: Path) -> None:
    tree = ast.parse(script.read_text())
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names
    assert {name.partition(".")[0] for name in names} & {"compress", "baselines"} == set()


@pytest.mark.slow
def test_the_study_runs_from_one_file_and_resumes(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        """seeds = [0]
        [[match]]
        ours = "quantize"
        by_hand = ["converter_int8.py", "quantizer.py --bits 8"]
        [[match]]
        ours = "prune --sparsity 0.8 --epochs 0 quantize"
        by_hand = ["tfmot_prune.py --sparsity 0.8"]
        controls = ["prune --sparsity 0.8 --criterion random --epochs 0 quantize"]
        """
    )
    command = [sys.executable, FOLDER / "study.py", study, "--work", tmp_path / "work"]
    subprocess.run(command, check=True)
    first = (tmp_path / "work" / "study.csv").read_bytes()
    # Finished matches are not run again, even in another work folder.
    command = [*command[:-1], tmp_path / "elsewhere", "--results", tmp_path / "work"]
    subprocess.run(command, check=True)
    assert (tmp_path / "work" / "study.csv").read_bytes() == first
    assert not list((tmp_path / "elsewhere").iterdir())
    # A match whose line was deleted is run again and appended last.
    lines = tmp_path / "work" / "study.jsonl"
    kept = (tmp_path / "work" / "study.jsonl").read_text().splitlines()
    (tmp_path / "work" / "study.jsonl").write_text(kept[1] + "\n")
    subprocess.run(command, check=True)
    again = [json.loads(t)["match"] for t in lines.read_text().splitlines()]
    assert again == [json.loads(kept[n])["match"] for n in (1, 0)]
    rows = (tmp_path / "work" / "ours.jsonl").read_text().splitlines()
    assert len(json.loads(rows[0])["correct"]) > 0
    page = (tmp_path / "work" / "study.md").read_text()
    assert page.count("| by hand |") == 3
    assert json.loads(rows[0])["commit"][:12] in page.splitlines()[-1]
