"""Options of a whole command that may also stand after one of its stages."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from compress.pipelines.stage_command import StageCommand


def late(whole: Iterable[click.Parameter], own: Sequence[click.Parameter]) -> list[click.Option]:
    """Copies of the options in `whole` that a stage accepts on behalf of its command.

    Args:
      whole: the parameters of the command.
      own: the parameters of the stage; an option of the command with the same name is left out.
    """
    own_names = {option.name for option in own}
    return [_late_copy(p) for p in whole if isinstance(p, click.Option) and p.name not in own_names]


class StageInChain(StageCommand):
    """One stage of a command. Its help lists its own options and those of the command in separate sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        whole = ctx.parent.command_path if ctx.parent else ""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for option in self.get_params(ctx):
            title = "Options"
            if option.callback is _pass_to_command:
                title = f"Options of `{whole}`, here or before the first stage"
            if record := option.get_help_record(ctx):
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _late_copy(option: click.Option) -> click.Option:
    copied = copy.copy(option)
    copied.callback, copied.expose_value = _pass_to_command, False
    return copied


def _pass_to_command(ctx: click.Context, option: click.Parameter, value: Any) -> Any:
    """Pass a value that was typed after a stage to the command. UsageError if the command has another value."""
    name, command, typed = str(option.name), ctx.parent, ParameterSource.COMMANDLINE
    if command is None or ctx.get_parameter_source(name) is not typed:
        return value
    before = command.params[name]
    if command.get_parameter_source(name) is typed and before != value:
        raise click.UsageError(
            f"{option.opts[0]} is given twice, as {before} and as {value}; give it once.", ctx
        )
    command.params[name] = value
    command.set_parameter_source(name, typed)
    return value
