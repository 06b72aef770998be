"""Parse the text of a pipeline, or the words of a shell, into stages."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from compress import registry
from compress.pipelines.late_options import StageInChain, late
from compress.text import no_such

if TYPE_CHECKING:
    from compress.stage import Stage


def known(ctx: click.Context | None, word: str, kind: str, names: list[str]) -> None:
    """Raise click.UsageError, with the nearest name, unless `word` is one of the `names` or an option."""
    if word in names or word.startswith("-"):
        return
    raise click.UsageError(no_such(kind, word, names), ctx)


SEED = click.IntRange(0, 2**31 - 1)


class StageGroup(click.Group):
    """A chain of stages, each with its own options. The options of the command may follow any stage."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return registry.stage_names()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in registry.stage_names():
            return None
        cls = registry.stage(name)
        own = cls.parameters()
        return StageInChain(
            name,
            params=[*own, *late(self.params, own)],
            callback=lambda **o: build_stage(cls, o),
            help=cls.__doc__,
        )

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        known(ctx, args[0], "stage", registry.stage_names())
        return click.Group.resolve_command(self, ctx, args)


def build_stage(cls: type[Stage], options: dict[str, Any]) -> Stage:
    """The stage of that class with these options. Raises click.UsageError if the stage refuses them."""
    ctx = click.get_current_context(silent=True)
    epochs_typed = ctx and ctx.get_parameter_source("epochs") is ParameterSource.COMMANDLINE
    if epochs_typed and options.get("minutes") is not None:
        # A stage cannot distinguish typed epochs from its default.
        raise click.UsageError("--minutes and --epochs both set the epochs: give one of them.", ctx)
    try:
        return cls(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def parse_stages(text: str) -> tuple[Stage, ...]:
    """The stages in a text, written as after `compress run`.

    Raises:
      click.UsageError: a word is neither a stage nor an option of one.
      ValueError: a quotation is not closed.
    """
    group = StageGroup("run", chain=True, context_settings={"help_option_names": []})
    with group.make_context("run", shlex.split(text)) as context:
        return tuple(group.invoke(context))


def stages_of(text: str) -> tuple[Stage, ...]:
    """Like `parse_stages`, but every error is a ValueError."""
    try:
        return parse_stages(text)
    except click.UsageError as error:
        raise ValueError(error.format_message()) from error
