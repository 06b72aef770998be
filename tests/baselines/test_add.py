"""Adding a trained model to the zoo stores it in float16, with a row that describes the stored file."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from baselines.zoo.add import WEIGHTS, add, in_half_precision
from compress import zoo
from compress.cli.main import cli
from compress.keras_models.model import KerasModel
from compress.model_files.load import load_model
from compress.runs.folder import RunFolder


def weights_in(file: Path) -> list[np.ndarray]:
    """The numbers of a .keras file, as they are stored."""
    found: list[np.ndarray] = []
    with zipfile.ZipFile(file) as parts, h5py.File(BytesIO(parts.read(WEIGHTS))) as stored:
        stored.visititems(
            lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None
        )
    return found


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The toy task's model in half precision."""
    in_half_precision(zoo.models()["toy"].file, tmp_path / "half.keras")
    return tmp_path / "half.keras"


def test_weights_are_rounded_to_float16_and_loaded_as_float32(stored: Path) -> None:
    model, whole = load_model(stored), load_model(zoo.models()["toy"].file)
    assert isinstance(model, KerasModel)
    assert isinstance(whole, KerasModel)
    assert {w.dtype for w in weights_in(stored) if w.dtype.kind == "f"} == {np.dtype("float16")}
    for half, full in zip(model.keras.get_weights(), whole.keras.get_weights(), strict=True):
        assert half.dtype == np.float32
        np.testing.assert_array_equal(half, full.astype(np.float16))
    assert model.digest != whole.digest


def test_a_weight_beyond_float16_is_refused(toy_model: KerasModel, tmp_path: Path) -> None:
    model = toy_model.copy()
    model.kernel_variables()["conv1"].assign(model.kernels()["conv1"] * 1e9)
    model.keras.save(tmp_path / "large.keras")
    with pytest.raises(ValueError, match="expected at most 65,504"):
        in_half_precision(tmp_path / "large.keras", tmp_path / "half.keras")
    assert not (tmp_path / "half.keras").exists()


@pytest.mark.parametrize("name", ["../r14", "a/b", "", ".."])
def test_a_name_that_is_not_a_plain_file_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name of a file"):
        add(tmp_path, tmp_path / "zoo", name, None, "again")
    assert not (tmp_path / "zoo").exists()


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not the folder of a finished run"):
        add(tmp_path, tmp_path, "mine", None, "")


def test_a_failed_measurement_leaves_the_zoo_folder_unchanged(tmp_path: Path) -> None:
    words = ["train", "--task", "toy", "--epochs", "1", "--out", "runs"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    (run,) = Path("runs").glob("train-*")
    zoo_folder = tmp_path / "zoo"
    zoo_folder.mkdir()
    (zoo_folder / "mine.keras").write_text("the one before")
    with pytest.raises(ValueError, match="leave out --data"):
        add(run, zoo_folder, "mine", tmp_path / "missing", "")
    assert [path.read_text() for path in zoo_folder.iterdir()] == ["the one before"]


TRAIN = ["train", "--task", "toy", "--epochs", "1"]
DISTILL = ["run", "--task", "toy", "distill", "--epochs", "1"]


@pytest.mark.parametrize(
    ("words", "measured_on"), [(TRAIN, "validation"), (TRAIN, "test"), (DISTILL, "test")]
)
def test_the_row_describes_the_stored_file_on_the_images_of_the_run(
    words: list[str], measured_on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CliRunner().invoke(cli, [*words, "--measure-on", measured_on]).exit_code == 0
    (run,) = (
        path for path in Path("runs").glob("*-*") if path.name.startswith(("train", "distill"))
    )
    row = add(run, tmp_path, "mine", None, "python -m baselines.zoo.add")
    finished = RunFolder(run).load()
    assert finished is not None
    trained = finished.row
    assert {path.suffix for path in tmp_path.glob("mine.*")} == {".keras", ".json"} | (
        {".csv"} if words == TRAIN else set()
    )
    content = json.loads((tmp_path / "mine.json").read_text())
    assert row.measured_on == trained.measured_on == measured_on
    assert content["result"] == row.record()
    if words == TRAIN:
        assert row.model == content["summary"]["digest"] != trained.model
        assert (tmp_path / "mine.csv").read_bytes() == (run / "log.csv").read_bytes()
    else:
        assert row.model == trained.model
    assert content["trained"]["command"] == trained.command
    mine = zoo.ZooModel("mine", tmp_path / "mine.keras", "", content["result"])
    monkeypatch.setattr(zoo, "models", lambda: {"mine": mine})
    said = CliRunner().invoke(cli, ["verify", "zoo:mine", "--task", "toy"])
    assert said.exit_code == 0, said.output


def test_an_integer_file_is_added_unchanged_with_its_existing_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CliRunner().invoke(cli, ["run", "--task", "toy", "quantize"]).exit_code == 0
    (run,) = Path("runs").glob("quantize*")
    row = add(run, tmp_path, "mine", None, "")
    assert {path.name for path in tmp_path.glob("mine.*")} == {"mine.tflite", "mine.json"}
    assert (tmp_path / "mine.tflite").read_bytes() == (run / "model.tflite").read_bytes()
    finished = RunFolder(run).load()
    assert finished is not None
    content = json.loads((tmp_path / "mine.json").read_text())["result"]
    assert content == row.record() == finished.row.record()
    mine = zoo.ZooModel("mine", tmp_path / "mine.tflite", "", content)
    monkeypatch.setattr(zoo, "models", lambda: {"mine": mine})
    for command in ("verify", "evaluate"):
        said = CliRunner().invoke(cli, [command, "zoo:mine", "--task", "toy"])
        assert said.exit_code == 0, said.output
