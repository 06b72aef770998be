"""StageCommand: a stage's command, which takes --PREFIX-NAME VALUE for the options that the stage forwards."""

from __future__ import annotations

from collections.abc import Sequence

import click

from compress.typed_options import ForwardedOption


class StageCommand(click.Command):
    """A stage as a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return click.Command.parse_args(self, ctx, spelled_out(args, self.get_params(ctx)))


def spelled_out(args: Sequence[str], params: Sequence[click.Parameter]) -> list[str]:
    """The words of a command, with `--PREFIX-NAME VALUE` of a forwarded option replaced by its flag and `NAME=VALUE`.

    From the first word that is not an option, words are unchanged: the next stage begins there.

    >>> forwarded = click.Option(["--student-option"], type=ForwardedOption("student"), multiple=True)
    >>> spelled_out(["--student-depth", "14", "quantize"], [forwarded])
    ['--student-option', 'depth=14', 'quantize']
    """
    options = [param for param in params if isinstance(param, click.Option)]
    known = {flag: option for option in options for flag in (*option.opts, *option.secondary_opts)}
    forwarded = {
        f"--{option.type.prefix}-": option.opts[0]
        for option in options
        if isinstance(option.type, ForwardedOption)
    }
    words, found = list(args), list[str]()
    while words and words[0].startswith("-"):
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        prefix = next((each for each in forwarded if flag.startswith(each)), None)
        if flag in known or prefix is None:
            found.append(word)
            takes_value = flag in known and not (known[flag].is_flag or equals)
            found += [words.pop(0)] if takes_value and words else []
        elif equals or words:
            found += [
                forwarded[prefix],
                f"{flag.removeprefix(prefix)}={value if equals else words.pop(0)}",
            ]
        else:
            raise click.BadOptionUsage(flag, f"Option {flag!r} requires an argument.")
    return [*found, *words]
