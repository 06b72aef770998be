"""The study against handwritten scripts: everything it names exists, and the scripts do not import the toolkit."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from compress.pipelines.words import stages_of
from support.own_images import class_folders

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


@functools.cache
def study() -> Any:
    """The module study.py."""
    spec = importlib.util.spec_from_file_location("study", FOLDER / "study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, list[str]]:
    """Commands of the study with one work folder, each with its own model, data or options of pixels."""
    toml = tmp_path / "study.toml"
    toml.write_text(
        "seeds = [0]\n[[match]]\nours = 'quantize'\nby_hand = ['quantizer.py --bits 8']"
    )
    models = [tmp_path / name for name in ("first/my.keras", "second/my.keras", "second/my.h5")]
    for number, model in enumerate(models):
        model.parent.mkdir(exist_ok=True)
        model.write_bytes(b"a model" if number in (0, 2) else b"another model")
    data = [class_folders(tmp_path / name) for name in ("nature", "street")]

    def command(model: Path, images: Path, *more: str) -> list[str]:
        given = ["--task", "images", "--data", str(images), "--model", str(model), *more]
        return ["study.py", str(toml), "--work", str(tmp_path / "work"), *given]

    return {
        "first": command(models[0], data[0]),
        "other model": command(models[1], data[0]),
        "other name": command(models[2], data[0]),
        "other data": command(models[0], data[1]),
        "scale": command(models[0], data[0], "--scale", "1"),
        "mean": command(models[0], data[0], "--mean", "0.5"),
        "std": command(models[0], data[0], "--std", "0.5"),
    }


def test_a_match_is_finished_only_for_its_model_file_data_and_options_of_pixels(
    commands: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def measured(*_: Any) -> list[dict[str, Any]]:
        ran.append(sys.argv)
        return [{"seed": 0, "by": "compress", "words": "quantize", "seconds": 1.0, "top1": 0.5}]

    monkeypatch.setattr(study(), "measured", measured)
    monkeypatch.setattr(study(), "made", lambda *_: "Measured.")
    for words in (*commands.values(), *commands.values()):
        monkeypatch.setattr(sys, "argv", words)
        study().main()
    assert ran == list(commands.values())


def test_files_of_scripts_by_hand_are_those_of_their_model_data_and_options(
    commands: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(study().subprocess, "run", lambda words, **_: ran.append(words))
    outs = set()
    for words in (*commands.values(), *commands.values()):
        monkeypatch.setattr(sys, "argv", words)
        asked = study().arguments()
        asked.work.mkdir(exist_ok=True)
        outs.add(study().by_hand("quantizer.py --bits 8", 0, asked.model, asked)[0])
    assert len(outs) == len(ran) == len(commands)
    assert all("quantizer-bits-8-seed0-my." in out.name for out in outs)
    images = [words[2] for words in ran]
    assert len(set(images)) == 2
    assert [images.count(images[n]) for n in (0, list(commands).index("other data"))] == [6, 1]


@pytest.mark.parametrize(
    ("task", "model", "test"),
    [
        ("cifar10", "baseline.keras", "1e527b3a6e01"),
        ("cifar10", "r14.keras", "1e527b3a6e01"),
        ("images", "residual.keras", "1e527b3a6e01"),
        ("images", "vehicles.h5", "4f2dbfaac809"),
    ],
)
def test_the_committed_matches_are_finished_on_their_test_images_only(
    task: str, model: str, test: str
) -> None:
    kept = study().kept(FOLDER)
    for match in MATCHES[:2]:
        key = {"task": task, "model": model, "seed": 0, "match": match}
        found = [
            [study().is_finished(line, key, {"test": t}) for line in kept]
            for t in (test + "0" * 52, "f" * 64)
        ]
        assert [sum(each) for each in found] == [1, 0]


@pytest.mark.slow
def test_the_study_runs_from_one_file_and_resumes(tmp_path: Path) -> None:
    toml = tmp_path / "study.toml"
    toml.write_text(
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
    command = [sys.executable, FOLDER / "study.py", toml, "--work", tmp_path / "work"]
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
