"""Following docs/adding-a-stage.md exactly, in an empty folder, gives a working stage."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compress.findings import CannotTreat, Finding

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding-a-stage.md").read_text()


def block(language: str, number: int = 0) -> str:
    """The code block of that number in a language on the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)[number]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that `pip install` of the page's package would put on the path."""
    folder = tmp_path_factory.mktemp("site")
    points = tomllib.loads(block("toml"))["project"]["entry-points"]["compress.stages"]
    ((name, target),) = points.items()
    module, _, _ = target.partition(":")
    (folder / f"{module}.py").write_text(block("python"))
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[compress.stages]\n{name} = {target}\n")
    return folder


def compress(*words: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "from compress.cli.main import main; main()"
    places = os.pathsep.join([str(path), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": places}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment, cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_code_on_the_page_has_less_than_60_lines() -> None:
    assert len((block("python") + block("toml")).splitlines()) < 60


def test_the_stage_is_listed_and_has_help(installed: Path, tmp_path: Path) -> None:
    listed = compress("stages", path=installed, cwd=tmp_path)
    assert "Round the weights of every kernel" in " ".join(listed.stdout.split())
    explained = compress("round", "--help", path=installed, cwd=tmp_path)
    assert "Decimal digits that stay." in explained.stdout


def test_the_stage_runs_in_a_pipeline_with_others(installed: Path, tmp_path: Path) -> None:
    words = ["run", "--task", "toy", "round", "--digits", "1", "quantize"]
    done = compress(*words, path=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "round --digits 1" in done.stdout
    assert len((tmp_path / "reports" / "results.jsonl").read_text().splitlines()) == 3


def test_the_check_on_the_page_gives_findings_or_refuses() -> None:
    names: dict[str, Any] = {"Finding": Finding, "CannotTreat": CannotTreat, "KerasModel": Any}
    exec(block("python", 1), names)
    kernels = {"conv": np.ones(9), "dense": np.ones(10)}
    stage, model = SimpleNamespace(name="round"), SimpleNamespace(kernels=lambda: kernels)
    (finding,) = names["check"](stage, model)
    assert finding.sentence("round") == "round: conv left as it is: it has fewer than 10 weights."
    kernels.clear()
    with pytest.raises(CannotTreat, match=r"^round: the model has no kernels: give another\.$"):
        names["check"](stage, model)


def test_options_of_the_stage_are_checked(installed: Path, tmp_path: Path) -> None:
    done = compress("run", "--task", "toy", "round", "--digits", "9", path=installed, cwd=tmp_path)
    assert done.returncode == 2
    assert "Invalid value for '--digits': 9 is not in the range 0<=x<=6" in done.stderr
