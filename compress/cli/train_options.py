"""The options of `compress train`, and those that the network named by `--network` adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from compress import registry
from compress.cli.options import TASK
from compress.stage import MAX_EPOCHS
from compress.text import nearest, no_such
from compress.training.recipe_settings import RecipeSetting

if TYPE_CHECKING:
    from compress.tasks.network import Network

TRAIN_OPTIONS = [
    click.Option(["--network"], help="Network of the task; the first one if not given."),
    click.Option(["--recipe"], help="Training recipe; the network's first recipe if not given."),
    click.Option(
        ["--epochs"],
        type=click.IntRange(0, MAX_EPOCHS),
        help="Epochs; those of the recipe if not given.",
    ),
    click.Option(
        ["--set", "settings"],
        type=RecipeSetting(),
        multiple=True,
        help="Change a field of the recipe, as in --set mixup=0.2. May be repeated.",
    ),
    click.Option(["--tensorboard"], is_flag=True, help="Also write logs for TensorBoard."),
    click.Option(
        ["--dry-run"], is_flag=True, help="Only print the size of the network; needs no data."
    ),
]
_CHOSEN = "compress.network"  # key of the chosen network in a context


class Train(click.Command):
    """`compress train`: it has its own options and those of the network that its words name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        network = _named_in(args, self.params, ctx)
        ctx.meta[_CHOSEN] = network
        try:
            return click.Command.parse_args(self, ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._unknown(error.option_name, network, ctx), ctx) from None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        network: Network | None = ctx.meta.get(_CHOSEN)
        first, *others = click.Command.get_params(self, ctx)
        return [first, *(network.parameters() if network else []), *others]

    def _unknown(self, word: str, network: Network | None, ctx: click.Context) -> str:
        """The sentence about an option that neither the command nor the network has."""
        near = nearest(word, [flag for option in self.get_params(ctx) for flag in option.opts])
        hint = f" Did you mean {near}?" if near else ""
        of_network = f"; network {network.name} has {_flags(network)}" if network else ""
        return f"no option {word}{of_network}.{hint}"

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for task in registry.task_names():
            for network in registry.task(task).networks.values():
                if not network.recipes:
                    continue
                title = f"Network {network.name} of task {task}: options {_flags(network)}; recipes"
                with formatter.section(title):
                    formatter.write_dl(
                        [(r, recipe.summary) for r, recipe in network.recipes.items()]
                    )


def network_from(values: dict[str, Any], name: str | None) -> Network:
    """The network called `name`, or the task's first, with its options, which are removed from `values`.

    Raises:
      click.UsageError: the network refuses its options.
    """
    networks = registry.task(values["task"]).networks
    network = networks[name] if name else next(iter(networks.values()))
    options = {each: values.pop(each) for each in network.option_names()}
    try:
        return network.with_options(options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _named_in(args: list[str], own: list[click.Parameter], ctx: click.Context) -> Network | None:
    """The network that the words name, or the first of their task. None in completion if the task is not installed.

    Args:
      own: the parameters of the command besides those of a network.
    """
    trial = click.Command(None, params=own, context_settings={"ignore_unknown_options": True})
    with click.Context(trial, parent=ctx, resilient_parsing=ctx.resilient_parsing) as context:
        context.ignore_unknown_options = context.allow_extra_args = True
        values, _, _ = trial.make_parser(context).parse_args([*args])
    task, name = str(values.get("task", TASK.default)), values.get("network")
    installed = registry.task_names()
    if ctx.resilient_parsing and task not in installed:
        return None  # completion must not run a user's code
    if ":" not in task and task not in installed:
        raise click.UsageError(no_such("task", task, installed), ctx)
    networks = registry.task(task).networks
    if isinstance(name, str) and name in networks:
        return networks[name]
    if name is not None and not ctx.resilient_parsing:
        raise click.UsageError(no_such("network", str(name), list(networks)), ctx)
    return next(iter(networks.values()))


def _flags(network: Network) -> str:
    return ", ".join(option.opts[0] for option in network.parameters()) or "none"
