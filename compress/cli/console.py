"""Output for people: progress on standard error, results on standard output."""

from __future__ import annotations

import atexit
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from compress.text import counted, printable

if TYPE_CHECKING:
    from compress.training.progress import Row


class Lines:
    """Progress for logs: one line per epoch, on standard error."""

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        self.images, self.epochs = steps * batch_size, epochs
        resumed = f", resuming after epoch {done}" if done else ""
        self.note(f"{title}: {counted(epochs, 'epoch')} of {self.images:,} images{resumed}")

    def step(self, step: int, loss: float, accuracy: float) -> None:
        """Do nothing: a log gets one line per epoch."""

    def epoch(self, row: Row) -> None:
        left = (self.epochs - row["epoch"]) * row["seconds"]
        self.note(
            f"epoch {row['epoch']:.0f}/{self.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
            f"validation {row['validation_accuracy']:.4f} ({row['validation_cross_entropy']:.4f})  "
            f"{self.images / max(row['seconds'], 1e-9):,.0f} images/s  {clock(left)} left"
        )

    def note(self, sentence: str) -> None:
        tell(sentence)


class Live(Lines):
    """Progress for a terminal: a live bar during each epoch, and the same line after it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        # The bar hides the cursor; stopping it at exit shows the cursor again.
        atexit.register(self.bar.stop)

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        Lines.begin(self, title, epochs, steps, batch_size, done)
        self.steps, self.batch_size, self.done = steps, batch_size, done
        self.epoch_began = time.monotonic()
        self.id = self.bar.add_task("", total=epochs * steps, completed=done * steps, detail="")
        self.validation = ""

    def step(self, step: int, loss: float, accuracy: float) -> None:
        if step == 1:
            self.epoch_began = time.monotonic()
            self.bar.start()
        rate = step * self.batch_size / max(time.monotonic() - self.epoch_began, 1e-3)
        self.bar.update(
            self.id,
            description=f"epoch {self.done + 1}/{self.epochs}",
            completed=self.done * self.steps + step,
            detail=f"{rate:,.0f} images/s  loss {loss:.3f}  accuracy {accuracy:.3f}{self.validation}",
        )

    def epoch(self, row: Row) -> None:
        self.done = int(row["epoch"])
        self.validation = f"  validation {row['validation_accuracy']:.3f}"
        Lines.epoch(self, row)
        if self.done == self.epochs:
            self.bar.stop()
            self.bar.remove_task(self.id)

    def note(self, sentence: str) -> None:
        self.console.print(printable(sentence), markup=False, soft_wrap=True)


def say(*lines: str) -> None:
    """Print lines to standard output. Control characters become spaces: text quoted from a file may hold some."""
    for line in lines:
        click.echo(printable(line))


def tell(*lines: str) -> None:
    """Print lines to standard error, control characters replaced as in `say`."""
    for line in lines:
        click.echo(printable(line), err=True)


def say_json(value: Any) -> None:
    """Print a value as JSON to standard output, in ASCII with control characters escaped."""
    click.echo(json.dumps(value, indent=2))


def progress() -> Lines:
    """The progress display: a live bar on a terminal, plain lines otherwise."""
    return Live() if sys.stderr.isatty() else Lines()


def print_records(records: Sequence[Mapping[str, Any]]) -> None:
    """Print records with the same keys to standard output, as a table as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(records[0] if records else ()):
        table.add_column(_escaped(column), justify="left" if index == 0 else "right")
    for record in records:
        table.add_row(*[_escaped(_grouped(v)) for v in record.values()])
    is_terminal = sys.stdout.isatty()
    # A file or a pipe has no width: the table may take 200 columns there.
    Console(highlight=False, width=None if is_terminal else 200).print(table)


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Print names and values in two columns to standard output."""
    width = max(map(len, pairs))
    say(*(f"{name:<{width}}  {value}" for name, value in pairs.items()))


def print_diagnoses(record: Mapping[str, Any]) -> None:
    """Print the record of `diagnose`: a table of stages, then the sentences of each stage that has findings."""
    say(*record["notes"], f"Checked for --task {record['task']}.")
    print_records(
        [
            {
                "stage": diagnosis["stage"],
                "can treat it": diagnosis["verdict"],
                "layers without findings": len(diagnosis["untouched"]),
                "layers named": len({n for f in diagnosis["findings"] for n in f["layers"]}),
            }
            for diagnosis in record["stages"]
        ]
    )
    for diagnosis in record["stages"]:
        if diagnosis["findings"]:
            say("", f"{diagnosis['stage']}: {diagnosis['verdict']}")
        for finding in diagnosis["findings"]:
            say(f"  {finding['why']}")
            if finding["rewrite"]:
                say(f"    {finding['rewrite']}")
    fixed = record["fixed"]
    if fixed:
        say("", *(fixed["rewrites"] or ["No rewrite would help: nothing is written."]))
        say(*fixed.get("says", ()))
        if "file" in fixed:
            say(f"Written: {fixed['file']}.")


def print_summary(summary: Mapping[str, Any], measured_on: str) -> None:
    """Print the summary of a training, as `training_run.measured_summary` gives it."""
    budget = summary.get("params_budget")
    share = f" of a budget of {budget:,}" if budget else ""
    pairs = {"parameters": f"{summary['params']:,}{share}"}
    if "best_validation_accuracy" in summary:
        low, high = summary["best_validation_accuracy_interval"]
        pairs |= {
            "best validation cross-entropy": f"{summary['best_validation_cross_entropy']:.4f}"
            f" (epoch {summary['best_validation_cross_entropy_epoch']:.0f})",
            "best validation accuracy": f"{summary['best_validation_accuracy']:.2%}"
            f" (epoch {summary['best_validation_accuracy_epoch']:.0f};"
            f" 95 % interval {low:.2%} to {high:.2%})",
        }
    low, high = summary[f"{measured_on}_accuracy_interval"]
    name = "test" if measured_on == "test" else "validation of the file,"
    pairs |= {
        f"{name} cross-entropy": f"{summary[f'{measured_on}_cross_entropy']:.4f}",
        f"{name} accuracy": f"{summary[f'{measured_on}_accuracy']:.2%}"
        f" (95 % interval {low:.2%} to {high:.2%})",
    }
    print_pairs(pairs)


def _grouped(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _escaped(value: Any) -> str:
    from rich.markup import escape

    return escape(printable(value))


def clock(seconds: float) -> str:
    """A time span as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
