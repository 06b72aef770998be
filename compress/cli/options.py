"""Options that commands share, and command groups whose commands are the installed stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compress import registry
from compress.cli.errors import errors_as_sentences
from compress.cli.param_types import Numbers, Scale, Size, TaskName
from compress.input_file import FilePath, ModelPath
from compress.pipelines.stage_command import StageCommand
from compress.pipelines.words import SEED, StageGroup, build_stage, known

if TYPE_CHECKING:
    from compress.runs.options import RunOptions
    from compress.stage import Stage


MICRO = "micro"
TARGETS = (
    MICRO,
    *(f"ethos-{name}" for name in ("u55-32", "u55-64", "u55-128", "u55-256", "u65-256", "u65-512")),
)
FILE = FilePath(path_type=Path)
MODEL_FILE = ModelPath(path_type=Path)
USUAL_TASK = "cifar10"
TASK = click.Option(
    ["--task"], type=TaskName(), default=USUAL_TASK, show_default=True,
    help="Task listed by `compress tasks`, or MODULE:OBJECT for a task in your own Python code, which is executed.",
)  # fmt: skip
DATA = click.Option(
    ["--data"], type=FILE, help="Path of the data; found or downloaded if not given."
)
INPUT_SCALE = click.Option(
    ["--input-scale"], type=Scale(),
    help="Factor that multiplies pixels, such as 1/255, or 1 for raw pixels; detected from the model if not given.",
)  # fmt: skip
# How the pixels of task `images` are prepared before a model gets them.
PIXELS = [
    INPUT_SCALE,
    click.Option(
        ["--mean"], type=Numbers(),
        help="With --task images: subtract this from pixels times 1/255 or --input-scale; one number per channel.",
    ),
    click.Option(
        ["--std"], type=Numbers(), help="With --task images: divide by this after subtracting the mean."
    ),
    click.Option(["--bgr"], is_flag=True, help="With --task images: order the channels blue, green, red."),
    click.Option(
        ["--resize"], type=Size(), help="With --task images: resize images to HEIGHTxWIDTH, such as 224x224."
    ),
]  # fmt: skip
JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print JSON to standard output.")
RESULTS = click.Option(
    ["--results"], type=FILE, default=Path("reports/results.jsonl"), show_default=True,
    help="File of result rows, one JSON object per line.",
)  # fmt: skip
OUT = click.Option(
    ["--out"],
    type=FILE,
    default=Path("runs"),
    show_default=True,
    help="Folder for the run folders.",
)
MICRO_ACCURACY = click.Option(
    ["--micro-accuracy"], is_flag=True,
    help="Also measure with TFLM, the interpreter for microcontrollers. Takes longer and needs tflite-micro.",
)  # fmt: skip
RUN_OPTIONS = [
    TASK,
    DATA,
    *PIXELS,
    click.Option(
        ["--seed"], type=SEED, default=0, show_default=True, help="Seed of all random choices."
    ),
    click.Option(
        ["--deterministic"],
        is_flag=True,
        help="Make the same command give the same weights, bit for bit.",
    ),
    click.Option(
        ["--precision"],
        type=click.Choice(["auto", "float32", "bfloat16"]),
        default="auto",
        show_default=True,
        help="Number type of training; weights stay float32. auto times both once before a long training and takes "
        "the faster.",
    ),
    OUT,
    RESULTS,
    click.Option(["--fresh"], is_flag=True, help="Run again even if the run is already finished."),
    click.Option(
        ["--train-on"],
        type=click.Choice(["train", "train+validation"]),
        default="train",
        show_default=True,
        help="Images to train on; use train+validation for a final model, after all choices are made.",
    ),
    click.Option(
        ["--measure-on", "measured_on"],
        type=click.Choice(["test", "validation"]),
        default="test",
        show_default=True,
        help="Images to measure on; use validation to choose between models without opening the test images.",
    ),
    MICRO_ACCURACY,
    JSON,
]
SLIM_OUT = click.Option(
    ["--out"], type=FILE, help="File to write; a .slim.tflite file next to FILE if not given."
)
MODEL = click.Option(
    ["--model"],
    type=MODEL_FILE,
    help="Model file to compress, or zoo:NAME; the task's baseline if not given.",
)
NO_MEASURE = click.Option(
    ["--no-measure"], is_flag=True,
    help="Only train; the same command without this flag measures later. Needs no TensorFlow with KERAS_BACKEND=jax.",
)  # fmt: skip
TRUST = click.Option(
    ["--trust"], is_flag=True, help="Allow the model file to run code that it contains."
)
EVALUATE_OPTIONS = [TASK, DATA, *PIXELS, MICRO_ACCURACY, TRUST, JSON]
INSPECT_OPTIONS = [
    click.Option(
        ["--sensitivity"], is_flag=True,
        help="Show instead what storing each kernel in 8 and 4 bits costs, on validation images of the task.",
    ),
    click.Option(
        ["--bytes", "by_bytes"], is_flag=True, help="Show instead what each byte of a .tflite file is used for.",
    ),
    click.Option(
        ["--target"], type=click.Choice(TARGETS),
        help="Show instead what a .tflite file needs on this target: micro with TFLM; ethos-... as estimated by Arm's "
        "compiler Vela.",
    ),
    TASK, DATA, *PIXELS, TRUST, JSON,
]  # fmt: skip
COMPRESS_OPTIONS = [MODEL, TRUST, *RUN_OPTIONS]


class MainGroup(click.Group):
    """The commands below, and every installed stage as its own command."""

    run_stage: Callable[[Stage, RunOptions], None]  # called by the command of a stage

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with errors_as_sentences():
            return click.Group.make_context(self, *args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with errors_as_sentences():
            return click.Group.invoke(self, ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *registry.stage_names()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.commands or name not in registry.stage_names():
            return self.commands.get(name)
        cls = registry.stage(name)
        own = {str(p.name) for p in cls.parameters()}
        # A stage that does not train, or gives no Keras model, leaves nothing to measure later.
        later = [NO_MEASURE] if cls.trains and cls.gives == "keras" else []

        def run_alone(**values: Any) -> None:
            stage = build_stage(cls, {k: values.pop(k) for k in own})
            self.run_stage(stage, run_options(values))

        return StageCommand(
            name,
            params=[*cls.parameters(), *COMPRESS_OPTIONS, *later],
            callback=run_alone,
            help=cls.__doc__,
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
        known(ctx, args[0], "command", self.list_commands(ctx))
        return click.Group.resolve_command(self, ctx, args)


class FileThenStages(StageGroup):
    """A file, then stages. The options of the command may stand before the file or after it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-"):
            file, words = args[0], args[1:]
            # A trial parse, only to find where the command's own options end.
            values, rest, _ = self.make_parser(ctx).parse_args([*words])
            own = len(words) - len(rest) - isinstance(values.get("file"), str)
            args = [*words[:own], file, *words[own:]]
        return StageGroup.parse_args(self, ctx, args)


def run_options(values: dict[str, Any]) -> RunOptions:
    """The parsed values of `RUN_OPTIONS`, and of `--model` and `--trust` if the command has them, as one object."""
    from compress.runs.options import RunOptions

    return RunOptions(**with_task(values))


def with_task(values: dict[str, Any]) -> dict[str, Any]:
    """The values, with the task itself in place of its name. It prepares pixels as the values of `PIXELS` say.

    If a mean or a standard deviation is given, the input scale becomes a part of this preparation.
    """
    from compress.data.preparation import Preparation
    from compress.tasks.images import prepared

    values = dict(values)
    chosen = {name: values.pop(name) for name in ("mean", "std", "bgr", "resize")}
    given = {name: value for name, value in chosen.items() if value}
    if values["input_scale"] and ({"mean", "std"} & set(given)):
        given["scale"] = values.pop("input_scale")
        values["input_scale"] = None
    task = values["task"] and registry.task(values["task"])
    return {**values, "task": prepared(task, Preparation(**given)) if task else task}
