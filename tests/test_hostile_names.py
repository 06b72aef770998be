"""No command sends control characters from names in files (layers, arrays, images, rows, folders) to a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from baselines.toy import Toy
from compress import backend, registry
from compress.cli import console
from compress.cli.main import cli
from compress.files import write_json
from compress.model_files.load import load_model
from compress.tflite.convert import converted
from support.own_images import class_folders, images
from support.report_rows import bits, row

# Sets the window title and colors, overwrites the line, starts a new line, reverses text.
EVIL = "\x1b]0;owned\x07\x1b[31m\x9b31m\r\n\x7fforged\u2028\u202e"
TOY = ["--task", "toy"]


def shown(*words: str) -> Result:
    """Run a command and check that both streams have only printable lines; return its result."""
    done = CliRunner().invoke(cli, [*words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    for said in (done.stdout, done.stderr):
        odd = {c for c in said if not c.isprintable() and c != "\n"}
        assert odd == set(), (words, said)
        assert not any(line.lstrip().startswith("forged") for line in said.split("\n")), words
    return done


@pytest.fixture(scope="module")
def evil_keras(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model for the toy task with EVIL in the name of every layer."""
    k = backend.keras().layers
    x = image = k.Input((12, 12, 3), name=f"image{EVIL}")
    x = k.Conv2D(4, 3, activation="relu", name=f"conv{EVIL}")(x)
    x = k.LayerNormalization(name=f"norm{EVIL}")(k.PReLU(name=f"slopes{EVIL}")(x))
    x = k.Dense(3, name=f"logits{EVIL}")(k.GlobalAveragePooling2D(name=f"pool{EVIL}")(x))
    path = tmp_path_factory.mktemp("models") / "evil.keras"
    backend.keras().Model(image, x).save(path)
    return str(path)


@pytest.fixture(scope="module")
def evil_tflite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The toy's baseline as a TFLite file with control characters in its tensor names."""
    baseline = Toy().baseline_path()
    assert baseline is not None
    content = converted(load_model(baseline).keras, "float32")  # type: ignore[union-attr]
    assert b"relu1" in content
    path = tmp_path_factory.mktemp("models") / "evil.tflite"
    path.write_bytes(
        content.replace(b"relu1", b"\x1b]0,\x07").replace(b"conv2", b"\xc2\x9b\r\x7fm")
    )
    return str(path)


# Models


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_inspect_shows_layer_names_without_control_characters(
    more: list[str], evil_keras: str, evil_tflite: str
) -> None:
    assert "]0" in shown("inspect", evil_tflite, "--bytes", *more).stdout
    for file in (evil_keras, evil_tflite):
        said = shown("inspect", file, *more).stdout
        assert "]0" in said
        if more:
            assert said.isascii()
            assert any("\x1b]0" in layer["name"] for layer in json.loads(said))


@pytest.mark.parametrize("more", [[], ["--json"], ["--fix", "better.keras"]])
def test_doctor_shows_layer_names_without_control_characters(
    more: list[str], evil_keras: str
) -> None:
    done = shown("doctor", evil_keras, *more)
    assert "LayerNormalization" in done.stdout


@pytest.mark.parametrize("stage", ["prune", "prune-filters", "cluster", "qat", "quantize"])
def test_a_refused_layer_is_named_without_control_characters(stage: str, evil_keras: str) -> None:
    assert "]0;owned" in shown(stage, *TOY, "--model", evil_keras).stderr
    assert "]0;owned" in shown("run", *TOY, "--model", evil_keras, stage).stderr


@pytest.mark.parametrize("stage", ["distill", "finetune"])
def test_a_layer_refused_by_tensorflow_is_named_without_control_characters(
    stage: str, evil_keras: str
) -> None:
    said = shown(stage, *TOY, "--epochs", "1", "--model", evil_keras).stderr
    assert "]0;owned" in said
    assert "has a name that TensorFlow does not take" in said


def test_evaluate_shows_names_without_control_characters(evil_keras: str, evil_tflite: str) -> None:
    assert shown("evaluate", evil_tflite, *TOY).exit_code == 0
    assert "]0;owned" in shown("evaluate", evil_keras, *TOY).stderr


def test_latency_export_verify_and_compare_show_no_control_characters(
    evil_keras: str, evil_tflite: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    for words in (
        ["latency", evil_tflite, "--rounds", "1", "--inputs", "1"],
        ["export", evil_tflite, "--to", out],
        ["verify", out],
    ):
        done = shown(*words)
        assert done.exit_code == 0, done.stderr
    for command in ("latency", "verify", "compare"):
        assert "]0;owned" in shown(command, *[EVIL] * (1 + (command == "compare"))).stderr
    assert "]0;owned" in shown("export", EVIL, "--to", "out").stderr
    assert "]0;owned" in shown("run", *TOY, "--model", evil_keras, "quantize", "encode").stderr


# Data


def folder_with_a_broken_image() -> Path:
    (class_folders(Path(EVIL)) / "ant" / f"{EVIL}.png").write_bytes(b"no image")
    return Path(EVIL)


def empty_class() -> Path:
    (class_folders(Path("data")) / EVIL).mkdir()
    return Path("data")


def image_beside_classes() -> Path:
    (class_folders(Path("data")) / f"{EVIL}.png").touch()
    return Path("data")


def arrays() -> Path:
    np.savez("a.npz", **{f"x_train{EVIL}": images(4)})  # type: ignore[arg-type]
    return Path("a.npz")


def pickled() -> Path:
    Path("copy").mkdir()
    name = b"\x8c" + bytes([len(EVIL.encode())]) + EVIL.encode()
    content = b"\x80\x04" + name + name + b"\x93."  # the global EVIL.EVIL
    for batch in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        Path("copy", batch).write_bytes(content.ljust(10_000 * 32 * 32 * 3))
    return Path("copy")


@pytest.mark.parametrize(
    ("task", "made"),
    [
        ("images", folder_with_a_broken_image),
        ("images", empty_class),
        ("images", image_beside_classes),
        ("images", arrays),
        ("images", lambda: Path(EVIL)),
        ("cifar10", pickled),
        ("cifar10", lambda: Path(EVIL)),
    ],
)
def test_refused_data_is_named_without_control_characters(
    task: str, made: Callable[[], Path]
) -> None:
    words = ["--task", task, "--data", str(made())]
    model = str(Toy().baseline_path())
    assert "]0;owned" in shown("evaluate", model, *words).stderr
    assert "]0;owned" in shown("doctor", model, *words, "prune").stderr
    assert "]0;owned" in shown("run", *words, "--model", model, "prune").stderr


def test_notes_about_data_have_no_control_characters() -> None:
    class_folders(Path(EVIL))
    words = ["--task", "images", "--data", EVIL, "--input-scale", "1"]
    assert "owned" in shown("evaluate", str(Toy().baseline_path()), *words).stderr


# Folders, rows and words


def test_train_shows_its_folder_without_control_characters() -> None:
    words = ["--epochs", "0", "--out", EVIL, "--results", f"{EVIL}/rows.jsonl"]
    done = shown("train", *TOY, *words)
    assert done.exit_code == 0
    assert "]0;owned" in done.stdout


def test_pipelines_of_a_file_are_named_without_control_characters() -> None:
    quoted = json.dumps(EVIL)
    Path("p.toml").write_text(f"[[pipeline]]\nname = {quoted}\nrun = 'quantize --scheme float16'\n")
    done = shown("run", *TOY, "--pipeline", "p.toml")
    assert done.exit_code == 0
    assert "]0;owned" in done.stdout
    assert "]0;owned" in done.stderr


def run_folder() -> None:
    made = row(
        bits(9_000),
        run="0123456789ab".ljust(64, "0"),
        label=EVIL,
        task=EVIL,
        data=EVIL,
        time="2020-01-01T00:00:00",
    )
    folder = Path("runs") / f"{EVIL.replace(chr(10), '')}-0123456789ab"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    write_json(folder / "manifest.json", {"result": made.record()})


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_run_folders_are_listed_and_deleted_without_control_characters(more: list[str]) -> None:
    run_folder()
    assert "owned" in shown("runs", *more).stdout
    assert "owned" in shown("runs", "--prune-older-than", "1h", *more).stderr
    assert "owned" in shown("runs", "--prune-older-than", "1h", "--yes", *more).stderr
    assert list(Path("runs").iterdir()) == []


def test_rows_are_reported_without_control_characters() -> None:
    stage = [{"stage": EVIL}]
    made = [row(bits(9_000)), row(bits(8_900), stage, label=EVIL, notes=[EVIL], command=EVIL)]
    Path(EVIL).mkdir()
    Path(EVIL, "rows.jsonl").write_text("".join(f"{one.to_json()}\n" for one in made))
    assert "]0;owned" in shown("report", "--results", f"{EVIL}/rows.jsonl").stdout
    Path("bad.jsonl").write_text(json.dumps(made[0].record() | {"measured_on": EVIL}))
    assert "]0;owned" in shown("report", "--results", "bad.jsonl").stderr


WORDS = [
    [EVIL],
    ["run", EVIL],
    ["run", "--task", EVIL, "prune"],
    ["run", f"--{EVIL}"],
    ["prune", "--sparsity", EVIL],
    ["prune", "--skip", EVIL, *TOY],
    ["train", "--recipe", EVIL, *TOY],
    ["runs", "--out", EVIL],
    ["runs", "--prune-older-than", EVIL],
    ["report", "--results", EVIL],
    ["inspect", EVIL],
    ["slim", EVIL],
    ["round", EVIL],
    ["inspect", "m.keras", EVIL],
    ["search", "--resume", EVIL],
    ["search", "--trials", "1", "--space", EVIL],
    ["search", "--trials", "1", "--storage", EVIL, *TOY],
]


@pytest.mark.parametrize("words", WORDS, ids=range(len(WORDS)))
def test_refused_arguments_are_shown_without_control_characters(words: list[str]) -> None:
    assert shown(*words).exit_code in (1, 2)


@pytest.mark.parametrize(
    "words", [["stages"], ["stages", "--json"], ["tasks"], ["zoo"], ["--help"]]
)
def test_lists_have_no_control_characters(words: list[str]) -> None:
    assert shown(*words).exit_code == 0


def test_every_command_occurs_in_this_file() -> None:
    own = Path(__file__).read_text()
    commands = [*cli.commands, *registry.stage_names()]
    assert [name for name in commands if f'"{name}"' not in own] == []


# Terminals


def test_live_progress_shows_notes_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    live = console.Live()
    live.note(EVIL)
    live.begin(EVIL, epochs=2, steps=10, batch_size=100, done=0)
    said = capsys.readouterr().err
    assert "owned" in said
    assert {c for c in said if not c.isprintable()} == {"\n"}


def on_a_terminal(*words: str) -> str:
    """The output of a command whose streams are a terminal."""
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "compress", *words]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        said = b""
        while chunk := _read(ours):
            said += chunk
        process.wait()
    finally:
        os.close(ours)
    return said.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux reports in this way that the other side is closed
        return b""


def test_a_terminal_gets_no_control_characters_except_our_own() -> None:
    run_folder()
    table, error = on_a_terminal("runs"), on_a_terminal("inspect", EVIL)
    assert "\x1b[1m" in table, "the heading is bold: this was a terminal"
    for said in (table, error):
        plain = re.sub(r"\x1b\[[\d;]*m", "", said).replace("\r\n", "")
        assert "owned" in plain
        assert plain.isprintable(), said
