"""The code of `compress run --pipeline`. Imported when the command runs, never for help."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.api import write_pages
from compress.cli import console, report_output
from compress.cli.commands import run_context
from compress.pipelines import reuse, setup, toml_file
from compress.pipelines.shared_plans import SharedPlans
from compress.runs.options import RunOptions
from compress.workers.drive import drive
from compress.workers.on_ray import Cluster, cluster_of


def run_file(file: Path, options: RunOptions, workers: Mapping[str, Any]) -> None:
    """Run the pipelines of a file and show their rows.

    Args:
      workers: the values of `WORKER_OPTIONS`.

    Raises:
      ValueError: the file or an option is wrong; at the end, if a pipeline failed.
    """
    plans = toml_file.read(file, options.seed, options.model)
    is_worker = workers["worker"] is not None
    words = sys.argv[1:-2] if is_worker else sys.argv[1:]  # without --worker and its value
    shared = SharedPlans(plans, options.out, file.stem, words)
    if is_worker:
        shared.work(_starts(plans, options, words), workers["worker"])
        return
    cluster = None
    if workers["on"]:
        cluster = cluster_of(workers["on"], workers["cpus"], workers["gpus"])
    outcomes = None if options.fresh else _finished_outcomes(plans, options)
    if outcomes is None:
        starts = _starts(plans, options, words)
        toml_file.check(plans, starts)
        if workers["jobs"] > 1 or cluster:
            outcomes = _driven(shared, words, workers["jobs"], cluster, options.results)
        else:
            outcomes = toml_file.run(plans, starts)
    _show(outcomes, options)


def _starts(
    plans: Sequence[toml_file.PlannedRun], options: RunOptions, words: Sequence[str]
) -> toml_file.Starts:
    context = run_context(options, words)
    models = {plan.model for plan in plans}
    return {path: setup.start(dataclasses.replace(options, model=path), context) for path in models}


def _driven(
    shared: SharedPlans, words: Sequence[str], jobs: int, cluster: Cluster | None, results: Path
) -> list[toml_file.Outcome]:
    """Let workers run the pipelines. Rows are written in the order of the pipelines, as with one process."""
    progress, outcomes = console.progress(), list[toml_file.Outcome]()

    def look() -> bool:
        while len(outcomes) < len(shared.plans):
            outcome = shared.outcome(len(outcomes), results)
            if outcome is None:
                return False
            outcomes.append(outcome)
            planned = outcome.planned
            which = f"pipeline {len(outcomes)} of {len(shared.plans)}: {planned.name}"
            if outcome.error is None:
                progress.note(f"{which}, seed {planned.seed}, done")
            toml_file.tell(outcome, progress.note)
        return True

    with shared.driven(progress):
        progress.note(f"the output of the jobs is in {shared.folder}")
        drive(["-m", "compress", *words], shared.folder, jobs, cluster, look)
    return outcomes


def _finished_outcomes(
    plans: Sequence[toml_file.PlannedRun], options: RunOptions
) -> list[toml_file.Outcome] | None:
    """The outcomes of plans whose runs are all finished; None if one of them is not."""
    outcomes = []
    for plan in plans:
        plan_options = dataclasses.replace(options, model=plan.model, seed=plan.seed)
        rows = reuse.pipeline_rows(plan.pipeline, plan_options, console.progress().note)
        if rows is None:
            return None
        outcomes.append(toml_file.Outcome(plan, rows))
    return outcomes


def _show(outcomes: Sequence[toml_file.Outcome], options: RunOptions) -> None:
    """Show rows and a summary. Raises ValueError if a pipeline failed."""
    rows = list({row.run: row for outcome in outcomes for row in outcome.rows}.values())
    if options.as_json and rows:
        results = options.results
        write_pages(results, results.parent, unless_current=True)
    elif rows:
        report_output.show(rows, options)
        console.say("")
    if options.as_json:
        console.say_json([outcome.record() for outcome in outcomes])
    else:
        console.print_records([outcome.summary() for outcome in outcomes])
    failed = [outcome.planned.name for outcome in outcomes if outcome.error is not None]
    if failed:
        raise ValueError(f"{len(failed)} of {len(outcomes)} pipelines failed: {', '.join(failed)}.")
