"""Words to objects, errors to sentences; the only place that exits. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compress import registry

if TYPE_CHECKING:
    from compress.stage import Stage

FILE = click.Path(path_type=Path)
SEED = click.IntRange(0, 2**31 - 1)
TASK = click.Option(["--task"], default="cifar10", show_default=True, help="See `compress tasks`.")
DATA = click.Option(["--data"], type=FILE, help="Where the data is; found or fetched if not given.")
JSON = click.Option(["--json", "as_json"], is_flag=True, help="JSON on standard output.")
RESULTS = click.Option(
    ["--results"], type=FILE, default=Path("reports/results.jsonl"), show_default=True,
    help="Rows are kept here, one JSON object a line.",
)  # fmt: skip
BENCH = [
    TASK,
    DATA,
    click.Option(
        ["--seed"], type=SEED, default=0, show_default=True, help="Of all that is random."
    ),
    click.Option(["--deterministic"], is_flag=True, help="Same words, same weights, bit for bit."),
    click.Option(
        ["--out"], type=FILE, default=Path("runs"), show_default=True, help="For run folders."
    ),
    RESULTS,
    click.Option(["--fresh"], is_flag=True, help="Redo what is finished already."),
    JSON,
]
MODEL = click.Option(["--model"], type=FILE, help="What to compress; else the task's baseline.")


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """What a user can cause becomes one sentence: exit code 2 for wrong words, 1 for the rest."""
    try:
        yield
        return
    except KeyboardInterrupt:
        message = "interrupted. The same words go on from the last whole epoch."
    except MemoryError:
        message = "out of memory."
    except OSError as error:
        named = error.filename and error.strerror
        message = f"{error.filename}: {error.strerror}." if named else str(error)
    except ValueError as error:
        message = str(error)
    raise click.ClickException(message)


class Program(click.Group):
    """The commands below, and every installed stage as a command of its own."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _sentences():
            return click.Group.make_context(self, *args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _sentences():
            return click.Group.invoke(self, ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *registry.stage_names()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.commands or name not in registry.stage_names():
            return self.commands.get(name)
        cls = registry.stage(name)
        own = {str(p.name) for p in cls.parameters()}

        def alone(**words: Any) -> None:
            from compress import actions

            stage = _made(cls, {k: words.pop(k) for k in own})
            actions.run(actions.chain([stage]), **words)

        return click.Command(
            name, params=[*cls.parameters(), MODEL, *BENCH], callback=alone, help=cls.__doc__
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in (("Commands", list(self.commands)), ("Stages", registry.stage_names())):
            with formatter.section(title):
                formatter.write_dl([(n, self._short_help(ctx, n)) for n in names])

    def _short_help(self, ctx: click.Context, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except ValueError as error:  # a broken plugin must not hide the others
            return str(error)
        return command.get_short_help_str(80) if command else ""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        _known(ctx, args[0], "command", self.list_commands(ctx))
        return click.Group.resolve_command(self, ctx, args)


class Chain(click.Group):
    """Stages one after another, each with its own options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return registry.stage_names()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in registry.stage_names():
            return None
        cls = registry.stage(name)
        return click.Command(
            name, params=cls.parameters(), callback=lambda **o: _made(cls, o), help=cls.__doc__
        )

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        _known(ctx, args[0], "stage", registry.stage_names())
        return click.Group.resolve_command(self, ctx, args)


class Train(click.Command):
    """`compress train`, whose help lists the recipes of every installed task."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for name in registry.task_names():
            with formatter.section(f"Recipes of task {name}"):
                recipes = registry.task(name).recipes
                formatter.write_dl([(r, recipe.summary) for r, recipe in recipes.items()])


def _known(ctx: click.Context, word: str, kind: str, known: list[str]) -> None:
    if word in known or word.startswith("-"):
        return
    near = difflib.get_close_matches(word, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise click.UsageError(f"no {kind} {word!r}; {kind}s here: {', '.join(known)}.{hint}", ctx)


def _made(cls: type[Stage], options: dict[str, Any]) -> Stage:
    try:
        return cls(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@click.group(cls=Program)
@click.version_option(package_name="compress-cnn", prog_name="compress")
def cli() -> None:
    """Make small image CNNs smaller, and say truthfully what that cost."""


@cli.group(cls=Chain, chain=True, params=[MODEL, *BENCH], invoke_without_command=True)
def run(**words: Any) -> None:
    """Compress a model: stages with their options, in the order typed.

    For instance: compress run --seed 3 prune --sparsity 0.5
    """


@run.result_callback()
def _chained(stages: list[Stage], **words: Any) -> None:
    if not stages:
        names = ", ".join(registry.stage_names())
        raise click.UsageError(f"no stage given, as in `compress run prune`; stages here: {names}.")
    from compress import actions

    actions.run(actions.chain(stages), **words)


@cli.command(
    cls=Train,
    params=[
        click.Option(["--recipe"], help="How to train; the task's first recipe if not given."),
        click.Option(
            ["--width"], type=click.FloatRange(0, 8, min_open=True), default=1.0, show_default=True,
            help="Filters relative to the full model.",
        ),
        click.Option(["--epochs"], type=click.IntRange(0), help="The recipe's own if not given."),
        click.Option(["--tensorboard"], is_flag=True, help="Also log for TensorBoard."),
        *BENCH,
    ],
)  # fmt: skip
def train(
    recipe: str | None, width: float, epochs: int | None, tensorboard: bool, **words: Any
) -> None:
    """Train the task's model from scratch, resumably."""
    from compress import actions
    from compress.trainer import Training

    recipe = recipe or next(iter(registry.task(words["task"]).recipes))
    asked = Training(recipe=recipe, width=width, epochs=epochs, tensorboard=tensorboard)
    actions.train(asked, **words)


@cli.command(params=[click.Argument(["file"], type=FILE), TASK, DATA, JSON])
def evaluate(**words: Any) -> None:
    """Measure a .keras, .h5 or .tflite FILE on the test images."""
    from compress import actions

    actions.evaluate(**words)


@cli.command(params=[click.Argument(["file"], type=FILE), JSON])
def inspect(**words: Any) -> None:
    """Show a model FILE layer by layer: shapes, parameters, MACs, bytes."""
    from compress import actions

    actions.inspect(**words)


@cli.command(
    params=[
        RESULTS,
        click.Option(["--out"], type=FILE, help="For the pages; else beside the rows."),
    ]
)
def report(**words: Any) -> None:
    """Write the comparison pages anew from the rows alone."""
    from compress import actions

    actions.report(**words)


@cli.command(params=[JSON])
def stages(as_json: bool) -> None:
    """List the stages."""
    from compress import actions

    actions.stages(as_json)


@cli.command()
def tasks() -> None:
    """List the tasks."""
    for name in registry.task_names():
        click.echo(f"{name}  {(type(registry.task(name)).__doc__ or '').strip().splitlines()[0]}")


def main() -> None:
    """The console script."""
    cli(prog_name="compress")
