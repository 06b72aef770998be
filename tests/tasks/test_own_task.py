"""A task in the user's code is named by module and object; an invalid task is refused in a sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from baselines.toy import Toy
from compress import registry
from compress.cli.main import cli


def compress(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


OWN = """
from baselines.toy import Toy
class Mine(Toy):
    \"\"\"Mine.\"\"\"
    name = "mine"
ready = Mine()
class Toy2(Toy):
    name = "toy"
class Half(Toy.__mro__[1]):
    name = "half"
"""


@pytest.fixture
def code_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules in the current folder, which is not on Python's path, as for an installed program."""
    (tmp_path / "own_task_of_test.py").write_text(OWN)
    (tmp_path / "broken_of_test.py").write_text("def:")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.delitem(sys.modules, "own_task_of_test", raising=False)


@pytest.mark.usefixtures("code_of_ones_own")
def test_a_task_in_a_module_of_the_current_folder_runs() -> None:
    done = compress("run", "--task", "own_task_of_test:ready", "--json", "round")
    assert done.exit_code == 0, done.output
    assert {r["task"] for r in json.loads(done.stdout)} == {"mine"}
    # Its rows are reported even though a task of that name is not installed.
    assert compress("report").exit_code == 0


def test_a_file_in_the_current_folder_does_not_shadow_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wave.py").write_text("raise SystemExit")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with pytest.raises(ValueError, match="wave:open is a function"):
        registry.task("wave:open")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("own_task_of_test:Mime", "has no attribute 'Mime'; expected MODULE:OBJECT"),
        ("nowhere_of_test:Mine", "No module named 'nowhere_of_test'"),
        ("broken_of_test:Mine", "cannot be loaded: invalid syntax"),
        ("own_task_of_test:Half", "abstract"),
        ("own_task_of_test:OWN", "cannot be loaded"),
        ("json:dumps", "json:dumps is a function; expected a subclass of compress.Task"),
        ("own_task_of_test:Toy2", "has the name of an installed task, 'toy'"),
        (":Mine", "cannot be loaded"),
    ],
)
@pytest.mark.usefixtures("code_of_ones_own")
def test_an_invalid_task_is_refused_in_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        registry.task(name)
    assert sentence in str(caught.value)


def test_an_installed_task_is_also_found_by_its_module() -> None:
    assert isinstance(registry.task("baselines.toy:Toy"), Toy)
