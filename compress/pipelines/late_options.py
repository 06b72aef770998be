"""Options of a whole command that may also stand after one of its stages."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import click
from click.core import ParameterSource


def late(whole: Iterable[click.Parameter], own: Sequence[click.Parameter]) -> list[click.Option]:
    """The options of `whole` as a stage with options of its `own` takes them: for the command that it is a stage of."""
    taken = {option.name for option in own}
    return [_late(p) for p in whole if isinstance(p, click.Option) and p.name not in taken]


class StageInChain(click.Command):
    """One stage of a command, whose help tells its own options from those of the command."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        whole = ctx.parent.command_path if ctx.parent else ""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for option in self.get_params(ctx):
            title = "Options"
            if option.callback is _hand_up:
                title = f"Options of `{whole}`, here or before the first stage"
            if record := option.get_help_record(ctx):
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _late(option: click.Option) -> click.Option:
    copied = copy.copy(option)
    copied.callback, copied.expose_value = _hand_up, False
    return copied


def _hand_up(ctx: click.Context, option: click.Parameter, value: Any) -> Any:
    """Give a value that stands after a stage to the command that it is a stage of."""
    name, whole, typed = str(option.name), ctx.parent, ParameterSource.COMMANDLINE
    if whole is None or ctx.get_parameter_source(name) is not typed:
        return value
    before = whole.params[name]
    if whole.get_parameter_source(name) is typed and before != value:
        raise click.UsageError(
            f"{option.opts[0]} is given twice, as {before} and as {value}; give it once.", ctx
        )
    whole.params[name] = value
    whole.set_parameter_source(name, typed)
    return value
