"""Measuring a zoo model again replaces its row and keeps the record of its training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from baselines.zoo.measure_again import OF_TRAINING, main, measure_again
from compress import zoo


@pytest.fixture
def copied(tmp_path: Path) -> tuple[Path, Path]:
    """The manifest and the model of the toy task."""
    model = zoo.models()["toy"].file
    files = model.with_suffix(".json"), model
    manifest, file = (Path(shutil.copy(each, tmp_path)) for each in files)
    content = json.loads(manifest.read_text())
    content["result"] |= {"cross_entropy": 9.0, "command": "compress train"}
    content.pop("trained", None)
    manifest.write_text(json.dumps(content))
    return manifest, file


def test_measuring_again_replaces_the_row_and_keeps_the_training_record(
    copied: tuple[Path, Path],
) -> None:
    before = json.loads(copied[0].read_text())
    row = measure_again(*copied, None, "again")
    after = json.loads(copied[0].read_text())
    assert after["result"] == row.record()
    assert row.cross_entropy < 1
    assert row.command == "again"
    assert after["trained"] == {name: before["result"][name] for name in OF_TRAINING}
    assert after["summary"] == before["summary"]
    measure_again(*copied, None, "again")
    assert json.loads(copied[0].read_text())["trained"] == after["trained"]


def test_other_test_images_are_refused(copied: tuple[Path, Path]) -> None:
    manifest, model = copied
    content = json.loads(manifest.read_text())
    content["result"]["splits"]["test"] = "0" * 64
    manifest.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"not the test images that the row of toy\.keras is about"
    ):
        measure_again(manifest, model, None, "again")
    assert json.loads(manifest.read_text()) == content


def test_a_model_measured_on_validation_images_can_then_be_measured_on_test_images(
    copied: tuple[Path, Path],
) -> None:
    manifest, model = copied
    of_test = measure_again(*copied, None, "again")
    on_validation = measure_again(*copied, None, "again", "validation")
    assert on_validation.measured_on == "validation"
    assert on_validation.test_images != of_test.test_images
    at_last = measure_again(manifest, model, None, "again", "test")
    assert (at_last.measured_on, at_last.top1) == ("test", of_test.top1)
    assert at_last.splits == of_test.splits


def test_a_model_that_trained_on_validation_images_is_not_measured_on_them(
    copied: tuple[Path, Path],
) -> None:
    content = json.loads(copied[0].read_text())
    content["result"]["trained_on"] = "train+validation"
    copied[0].write_text(json.dumps(content))
    with pytest.raises(ValueError, match="cannot measure it"):
        measure_again(*copied, None, "again", "validation")


def test_an_unknown_name_is_refused_with_the_nearest_name() -> None:
    result = CliRunner().invoke(main, ["toi"])
    assert result.exit_code == 1
    assert "no zoo model 'toi'" in result.output
    assert "Did you mean 'toy'?" in result.output


def test_unsuitable_data_is_refused_in_one_sentence() -> None:
    result = CliRunner().invoke(main, ["zoo:toy", __file__])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1
