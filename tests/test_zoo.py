"""Zoo models are accepted wherever a model file is, and their rows agree with a new measurement."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compress import registry, zoo
from compress.cli.main import cli

TOY = ["--task", "toy"]


def run(*words: str) -> Any:
    return CliRunner().invoke(cli, list(words))


def test_every_zoo_model_has_its_file_and_its_row() -> None:
    listed = json.loads(run("zoo", "--json").stdout)
    assert {"baseline", "toy"} <= {model["name"] for model in listed}
    for model in listed:
        assert Path(model["file"]).is_file()
        assert model["row"]["task"] in registry.task_names()
    said = run("zoo").stdout
    assert "zoo:baseline" in said
    assert "90.09" in said


def test_commands_accept_a_zoo_model_in_place_of_a_file() -> None:
    for words in (
        ["evaluate", "zoo:toy", *TOY],
        ["inspect", "zoo:toy"],
        ["run", *TOY, "--model", "zoo:toy", "prune", "--epochs", "0"],
        ["compare", "zoo:toy", "zoo:toy", *TOY],
        ["run", *TOY, "distill", "--teacher", "zoo:toy", "--epochs", "1"],
    ):
        done = run(*words)
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "words", [["inspect"], ["run", *TOY, "quantize", "--model"], ["compare", "zoo:toy"], ["verify"]]
)
def test_a_name_that_is_not_in_the_zoo_is_refused_with_the_nearest(words: list[str]) -> None:
    done = (
        run(*words[:1], *words[1:], "zoo:tooy")
        if "--model" not in words
        else run("run", *TOY, "--model", "zoo:tooy", "quantize")
    )
    assert done.exit_code in (1, 2)
    assert "no zoo model 'tooy'" in done.stderr
    assert "Did you mean 'toy'?" in done.stderr
    assert "Traceback" not in done.output


def test_a_zoo_model_as_output_leaves_the_zoo_unchanged() -> None:
    file = zoo.models()["toy"].file
    before = {path.name: path.read_bytes() for path in file.parent.glob("toy*")}
    done = run("doctor", "zoo:toy", "--fix", "zoo:toy", "prune")
    assert done.exit_code == 1, done.output
    assert {path.name: path.read_bytes() for path in file.parent.glob("toy*")} == before


def test_verify_measures_a_zoo_model_and_compares_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("run", *TOY, "quantize").exit_code == 0
    (folder,) = Path("runs").glob("quantize*")
    manifest = json.loads((folder / "manifest.json").read_text())
    (tmp_path / "small.tflite").write_bytes((folder / "model.tflite").read_bytes())
    of_zoo = zoo.ZooModel("small", tmp_path / "small.tflite", "", manifest["result"])
    monkeypatch.setattr(zoo, "models", lambda: {"small": of_zoo})
    kept = Path("reports/results.jsonl")
    kept.write_text(kept.read_text().replace('"seed": 0', '"seed": 7'))
    assert run("verify", "zoo:small", *TOY).exit_code == 0
    assert run("verify", str(folder), *TOY).exit_code == 1  # the row of the run differs
    of_zoo.row["file_bytes"] += 1
    changed = run("verify", "zoo:small", *TOY)
    assert changed.exit_code == 1
    assert "file_bytes" in changed.stderr


def test_two_zoo_models_with_the_same_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = zoo.models()["toy"].file
    for suffix in (".keras", ".json"):
        (tmp_path / f"toy{suffix}").write_bytes(toy.with_suffix(suffix).read_bytes())

    class Point(EntryPoint):
        def load(self) -> Any:
            return (tmp_path, toy.parent)

    points = [Point("all", "baselines.zoo.folders:FOLDERS", "compress.zoos")]
    monkeypatch.setattr(zoo, "entry_points", lambda group: points)
    with pytest.raises(
        ValueError, match=r"two models of the zoo are called 'toy': .*toy\.keras and"
    ):
        zoo.models()


@pytest.mark.parametrize(
    "manifest", ['{"about": "x"}', "[]", "{", '{"result": 1}', "[" * 100_000, "\xff"]
)
def test_a_damaged_manifest_is_named_and_run_still_works(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = zoo.models()["toy"].file
    mine = tmp_path / "mine.keras"
    mine.write_bytes(toy.read_bytes())
    mine.with_suffix(".json").write_text(manifest, encoding="latin-1")

    class Point(EntryPoint):
        def load(self) -> Any:
            return (tmp_path, toy.parent)

    points = [Point("all", "baselines.zoo.folders:FOLDERS", "compress.zoos")]
    monkeypatch.setattr(zoo, "entry_points", lambda group: points)
    done = run("zoo")
    assert done.exit_code == 1
    assert f"{mine.with_suffix('.json')} is not a manifest of the zoo" in done.stderr
    assert "Traceback" not in done.output
    assert run("run", *TOY, "--model", str(toy), "quantize").exit_code == 0


def test_a_manifest_whose_row_lacks_a_field_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.keras").touch()
    model = zoo.ZooModel("mine", tmp_path / "mine.keras", "", {"task": "toy"})
    monkeypatch.setattr(zoo, "models", lambda: {"mine": model})
    done = run("zoo")
    assert done.exit_code == 1
    assert "mine.json: field " in done.stderr
