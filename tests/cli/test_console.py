"""A log gets one line per epoch; a table in a pipe is not wrapped; progress never goes to standard output."""

from __future__ import annotations

import pytest

from compress.cli import console

ROW = {
    "epoch": 2,
    "loss": 1.25,
    "accuracy": 0.5,
    "validation_accuracy": 0.6,
    "validation_cross_entropy": 1.125,
    "seconds": 10.0,
}


def test_a_log_gets_one_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    lines = console.Lines()
    lines.begin("training", epochs=5, steps=10, batch_size=100, done=1)
    for step in range(10):
        lines.step(step + 1, 1.0, 0.1)
    lines.epoch(ROW)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "training: 5 epochs of 1,000 images, resuming after epoch 1",
        "epoch 2/5  loss 1.2500  accuracy 0.5000  validation 0.6000 (1.1250)  100 images/s  0:00:30 left",
    ]


def test_terminal_gets_the_same_line_after_a_live_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    live = console.Live()
    live.begin("training", epochs=2, steps=10, batch_size=100, done=1)
    for step in range(10):
        live.step(step + 1, 1.0, 0.1)
    live.epoch(ROW)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "epoch 2/2  loss 1.2500" in captured.err


def test_a_pipe_gets_lines_and_a_terminal_gets_live_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert type(console.progress()) is console.Lines
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert type(console.progress()) is console.Live


def test_a_wide_table_is_not_wrapped_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    record = {f"column {i}": "x" * 12 for i in range(10)} | {"count": 1234567}
    console.print_records([record])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == [word for i in range(10) for word in ("column", str(i))] + ["count"]
    assert row.split() == ["x" * 12] * 10 + ["1,234,567"]


def test_markup_in_a_cell_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_records([{"model": "[red]prune[/red]"}])
    assert "[red]prune[/red]" in capsys.readouterr().out


def test_the_summary_names_the_parameter_budget_if_there_is_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = {
        **{"params": 118258, "params_budget": 122000},
        **{"test_accuracy": 0.9, "test_accuracy_interval": [0.89, 0.91], "test_cross_entropy": 0.3},
    }
    console.print_summary(summary, "test")
    out = capsys.readouterr().out
    assert "118,258 of a budget of 122,000" in out
    assert "90.00% (95 % interval 89.00% to 91.00%)" in out
