"""The task on docs/adding-a-task.md, copied into a file, trains, is compressed and is found again."""

from __future__ import annotations

import inspect
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from compress import registry
from compress.cli.main import cli
from compress.tasks.task import Task

PAGE = (Path(__file__).parents[1] / "docs" / "adding-a-task.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.S)[0]


def compress(*words: str) -> Any:
    done = CliRunner().invoke(cli, list(words))
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's module in the current folder, and its data: each kind of flower has its own color."""
    (tmp_path / "my_task.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_task", raising=False)
    rng, arrays = np.random.default_rng(0), {}
    for part, n in (("train", 120), ("test", 30)):
        labels = np.arange(n) % 3
        images = rng.integers(0, 160, (n, 16, 16, 3), dtype=np.uint8)
        images[np.arange(n), :, :, labels] += 90
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    np.savez("flowers.npz", **arrays)
    return "my_task:Flowers"


def test_the_task_on_the_page_trains_and_is_compressed(here: str) -> None:
    of_data = ["--task", here, "--data", "flowers.npz"]
    trained = json.loads(compress("train", *of_data, "--epochs", "6", "--json").stdout)
    assert trained["result"]["top1"] > 0.9
    assert trained["result"]["task"] == trained["result"]["data"] == "flowers"
    (model,) = map(str, Path("runs").glob("train-recipe-usual-*/model.keras"))
    prune = ["prune", "--epochs", "1", "--learning-rate", "0.01"]
    words = ["run", *of_data, "--model", model, *prune, "quantize"]
    assert len(json.loads(compress(*words, "--json").stdout)) == 3
    assert "reused" in compress(*words).stderr
    half = ["distill", "--student-width", "0.5", *of_data, "--model", model, "--epochs", "1"]
    assert json.loads(compress(*half, "--json").stdout)[-1]["params"] < trained["result"]["params"]


def test_the_task_on_the_page_has_the_signatures_and_entry_point_of_a_task(here: str) -> None:
    task = registry.task(here)
    for name in ("load", "sources", "build"):
        own, protocol = (inspect.signature(getattr(cls, name)) for cls in (type(task), Task))
        assert [str(p).split(":")[0] for p in own.parameters.values()] == [
            str(p).split(":")[0] for p in protocol.parameters.values()
        ]
        assert own.return_annotation is not inspect.Signature.empty
    points = tomllib.loads(re.findall(r"```toml\n(.*?)```", PAGE, re.S)[0])
    assert points["project"]["entry-points"]["compress.tasks"] == {task.name: here}
    assert len(CODE.splitlines()) < 80
