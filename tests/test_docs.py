"""Documentation that a test reads cannot be wrong for long."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from compress import registry
from compress.cli import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted(ROOT.glob("docs/**/*.md"))
# The plugin of the tests is installed while tests run; the reference is about what ships.
SHIPPED = [n for n in registry.stage_names() if n != "round"]


def reference() -> str:
    """The help of every command, as docs/cli.md shows it."""
    parts = [
        "# Command reference\n\nGenerated from the help texts by `pytest tests/test_docs.py --update-golden`.\n"
    ]
    for name in ["", *cli.commands, *SHIPPED]:
        words = [*([name] if name else []), "--help"]
        shown = CliRunner().invoke(cli, words, prog_name="compress", terminal_width=100).output
        shown = re.sub(r"\n  round .*", "", shown)
        parts.append(f"## compress {name}".rstrip() + f"\n\n```text\n{shown.strip()}\n```\n")
    return "\n".join(parts)


def readme_commands() -> list[list[str]]:
    lines = "\n".join(re.findall(r"```(?:bash|console|sh)\n(.*?)```", README, re.S)).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("compress ")]


def test_command_reference_is_the_help(update_golden: bool) -> None:
    page = ROOT / "docs" / "cli.md"
    if update_golden:
        page.write_text(reference())
    assert page.read_text() == reference()


def test_readme_has_commands_to_try() -> None:
    assert ["compress", "run", "prune", "--sparsity", "0.5"] in readme_commands()


@pytest.mark.parametrize("words", readme_commands(), ids=" ".join)
def test_commands_of_the_readme_parse(words: list[str]) -> None:
    """Each is parsed to the end, options and all; test_end_to_end.py runs the ones that compress."""
    name, rest = words[1], words[2:]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    context = command.make_context(name, list(rest))
    while isinstance(command, click.Group) and context.protected_args:  # pragma: no cover
        break
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        while rest:
            stage = command.get_command(context, rest[0])
            assert stage is not None, rest
            inner = stage.make_context(
                rest[0], rest[1:], allow_extra_args=True, allow_interspersed_args=False
            )
            rest = inner.args


def test_every_stage_has_a_page_in_the_index() -> None:
    for name in SHIPPED:
        assert f"docs/stages/{name}.md" in README, name


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *PAGES]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = re.findall(r"^python3\.11 -m venv .*$", README, re.M)
    assert len(commands) == 2, "the README gives two commands: one to see it work, one to test it"
    ci = (ROOT / ".ci" / "run").read_text().replace("pip install -q", "pip install")
    assert commands[1] in ci


def test_plugin_page_shows_the_plugin_that_is_tested() -> None:
    """The code in docs/adding-a-stage.md is that of tests/plugin, so following the page works."""
    page = (ROOT / "docs" / "adding-a-stage.md").read_text()
    block = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    plugin = (ROOT / "tests" / "plugin" / "compress_round.py").read_text()
    body = "def rounded"
    assert block[block.index(body) :].strip() == plugin[plugin.index(body) :].strip()
    assert len(block.splitlines()) < 60
