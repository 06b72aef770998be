"""The curves of a training: their contents, and that the same numbers give the same bytes."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from compress.report import plots
from support.fresh_python import printed_by

HISTORY = [
    {
        "epoch": e, "loss": 2 / e, "accuracy": 0.5 + 0.04 * e, "cross_entropy": 1.9 / e,
        "validation_accuracy": 0.5 + 0.1 * e - 0.01 * e * e, "validation_cross_entropy": 1.5 / e,
        "learning_rate": 0.1, "seconds": 30.0,
    }
    for e in range(1, 9)
]  # fmt: skip


def test_the_front_of_a_search_is_drawn_with_its_axes(tmp_path: Path) -> None:
    trials = [(1000.0, 0.5), (2000.0, 0.9), (3000.0, 0.6)]
    png, svg = plots.search_front(trials, trials[:2], ("file bytes", "top-1"), tmp_path / "front")
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    shown = set(re.findall(r"<!-- (.*?) -->", svg.read_text()))
    assert {"file bytes", "top-1", "front", "trials"} <= shown


def test_curves_are_a_png_and_an_svg(tmp_path: Path) -> None:
    png, svg = plots.training_curves(HISTORY, tmp_path / "training_curves")
    assert [p.name for p in (png, svg)] == ["training_curves.png", "training_curves.svg"]
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    assert ElementTree.fromstring(svg.read_bytes()).tag.endswith("svg")


def test_curves_name_the_best_epoch_of_each_quantity(tmp_path: Path) -> None:
    _, svg = plots.training_curves(HISTORY, tmp_path / "curves")
    # 0.5 + 0.1 e - 0.01 e^2 is highest at e = 5; 1.5 / e is lowest at the last.
    assert "best validation: 75.00 %, epoch 5" in svg.read_text()
    assert "best validation: 0.1875, epoch 8" in svg.read_text()


def test_the_first_of_equally_good_epochs_is_the_best(tmp_path: Path) -> None:
    flat = [h | {"validation_accuracy": 0.5} for h in HISTORY]
    _, svg = plots.training_curves(flat, tmp_path / "curves")
    assert "best validation: 50.00 %, epoch 1" in svg.read_text()


def test_curves_of_one_epoch_are_visible(tmp_path: Path) -> None:
    one, _ = plots.training_curves(HISTORY[:1], tmp_path / "one" / "curves")
    two, _ = plots.training_curves(HISTORY[:2], tmp_path / "two" / "curves")
    assert one.stat().st_size > 5000
    assert one.read_bytes() != two.read_bytes()


def test_a_history_without_epochs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epochs to draw"):
        plots.training_curves([], tmp_path / "curves")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_holds_no_date_and_no_version(tmp_path: Path) -> None:
    for path in plots.training_curves(HISTORY, tmp_path / "curves"):
        content = path.read_bytes()
        assert b"Matplotlib v" not in content
        assert b"matplotlib.org" not in content
        assert b"dc:date" not in content
        assert b"tEXt" not in content


def test_the_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    first = plots.training_curves(HISTORY, tmp_path / "first" / "curves")
    second = plots.training_curves(HISTORY, tmp_path / "second" / "curves")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_drawing_does_not_import_pyplot() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from compress.report import plots\n"
        "row = dict.fromkeys(('accuracy', 'cross_entropy', 'validation_accuracy',"
        " 'validation_cross_entropy'), 0.5) | {'epoch': 1}\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    plots.training_curves([row], pathlib.Path(folder, 'curves'))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert printed_by(code) == "False"
