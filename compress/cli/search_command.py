"""The code of `compress search`. Imported when the command runs, never for help."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from compress.cli import console, search_output
from compress.cli.commands import run_context
from compress.cli.options import run_options
from compress.keras_models.model import KerasModel
from compress.micro import interpreter
from compress.pipelines import setup
from compress.runs.context import RunContext
from compress.runs.options import RunOptions
from compress.search import default_space, definition, finalists, space, storage
from compress.search.budget import Budget
from compress.search.definition import KEPT, PATHS, Definition
from compress.search.first_trials import begin_with_the_shortest, begin_with_the_widest
from compress.search.limits import Limits
from compress.search.loop import work
from compress.search.prediction import Predictor, check_possible
from compress.search.standing import Standing, standing
from compress.search.trial_rows import TrialRows
from compress.search.trial_run import TrialRun
from compress.workers.drive import drive
from compress.workers.on_ray import Cluster, cluster_of


class Searching:
    """A search that runs in this process: its study, and its model and data, which are loaded on first use."""

    def __init__(self, found: Definition, out: Path) -> None:
        self.definition, self.out = found, out
        self.folder = definition.folder_of(out, found.name)
        self.study = storage.open_study(found, out)
        self.rows = TrialRows(self.folder, out)
        self.progress = console.progress()

    @cached_property
    def options(self) -> RunOptions:
        """The options of its trials."""
        return run_options(_restored(self.definition.options, self.out))

    @cached_property
    def start(self) -> tuple[KerasModel, RunContext]:
        """The model that trials start from, and their context. It measures on validation images and writes no rows.

        The definition gets the digests of the model and the data. ValueError if the search began with others.
        """
        context = run_context(self.options)
        model, context = setup.start(
            self.options, dataclasses.replace(context, progress=self.progress)
        )
        data = context.data.digests
        self.definition = self.definition.with_inputs(
            {"model": model.digest, "train": data.train, "validation": data.validation}
        )
        return model, dataclasses.replace(context, results=None)

    @cached_property
    def predictor(self) -> Predictor:
        """The predictor of what files will take."""
        model, context = self.start
        return Predictor(model, context.view(None))

    def standing(self) -> Standing:
        """The results of the search so far."""
        return standing(self.study, self.definition)

    def budget(self, parent: int | None = None) -> Budget:
        """The remaining budget. Its time begins now: the model and the data are loaded first, unless it is used up.

        Args:
          parent: see `Budget`.
        """
        if not Budget.of(self.definition, so_far := self.standing(), parent).is_used_up(so_far):
            _, _ = self.start
        return Budget.of(self.definition, self.standing(), parent)

    def check_possible(self) -> None:
        """Raise ValueError if nothing in the space can meet a limit."""
        if self.definition.limits:
            limits = self.definition.parsed_limits()
            check_possible(self.definition.parsed_space(), limits, self.predictor)

    def propose_the_first(self) -> None:
        """Propose first trials: the shortest if time is limited, the widest students within other limits."""
        if self.definition.minutes is not None:
            begin_with_the_shortest(self.study, self.definition)
        if self.definition.limits:
            begin_with_the_widest(self.study, self.definition, self.predictor)

    def run_trials(self, budget: Budget, told: Callable[[Any, Standing], None]) -> None:
        """Run trials in this process until the budget is used up."""
        if not budget.is_used_up(self.standing()):
            trial_run = TrialRun(self.definition, *self.start, budget)
            if why := work(self.study, self.definition, trial_run, budget, told):
                self.progress.note(why)

    def run_workers(
        self, jobs: int, cluster: Cluster | None, told: Callable[[Any, Standing], None]
    ) -> None:
        """Let other processes, here or on a cluster, run trials until the budget is used up. Report each that ends."""
        budget = Budget.of(self.definition, self.standing())
        if budget.is_used_up(self.standing()):
            return
        ended = self._ended()

        def look() -> bool:
            nonlocal ended
            before, ended = ended, self._ended()
            for number in sorted(ended.keys() - before.keys()):
                told(ended[number], self.standing())
            return False  # a running trial is not stopped

        name, out = self.definition.name, str(self.out.absolute())
        words = ["-m", "compress", "search", "--resume", name, "--out", out]
        drive(words, self.folder, jobs, cluster, look)

    def _ended(self) -> dict[int, Any]:
        return {t.number: t for t in self.study.get_trials(deepcopy=False) if t.state.is_finished()}


def search(values: Mapping[str, Any], typed: Collection[str]) -> None:
    """Start or resume a search, and show its results."""
    storage.check_installed()
    out = Path(values["out"])
    if values["resume"]:
        found = definition.load(out, values["resume"])
    else:
        found = _new(values)
        path = definition.folder_of(out, found.name) / definition.FILE
        if path.exists():
            known = definition.load(out, found.name)
            if not known.is_same_as(found):
                raise ValueError(
                    f"search {found.name} already exists with other options: give this one another --name, or resume "
                    f"that one with --resume {found.name}."
                )
            found = known
    found = found.with_budget(
        values["minutes"] if "minutes" in typed else None,
        values["trials"] if "trials" in typed else None,
    )
    cluster = None
    if values["on"]:
        cluster = cluster_of(values["on"], values["cpus"], values["gpus"])
        if cluster.address:
            storage.check_shared(found.storage)
    if values["worker"] is None and found.storage is None:
        found.save(out)  # before its database is opened in the same folder
    searching = Searching(found, out)
    if values["worker"] is not None:
        budget = searching.budget(parent=values["worker"])
        searching.run_trials(budget, lambda trial, so_far: None)
        return
    found.save(out)
    _drive(searching, values["jobs"], cluster, values["as_json"])


def _drive(searching: Searching, jobs: int, cluster: Cluster | None, as_json: bool) -> None:
    """Run trials, write their rows, measure the finalists and show the outcome."""
    found, note = searching.definition, searching.progress.note
    searching.rows.add(searching.study)
    so_far = searching.standing()
    note(f"search {found.name}: {search_output.begun(found, so_far)}")
    if not searching.budget().is_used_up(so_far):
        searching.definition.save(searching.out)
        searching.check_possible()
        if not searching.study.get_trials(deepcopy=False):
            searching.propose_the_first()
    budget = searching.budget()

    def told(trial: Any, so_far: Standing) -> None:
        searching.rows.add(searching.study)
        if line := search_output.line(trial, so_far, found, budget.seconds_left):
            note(line)

    if jobs > 1 or cluster:
        searching.run_workers(jobs, cluster, told)
    else:
        searching.run_trials(budget, told)
    searching.rows.add(searching.study)
    so_far = searching.standing()
    rows = []
    if so_far.best:
        rows = finalists.measured(found, so_far, *searching.start, searching.options.results)
        finalists.export(found, so_far.best, searching.out)
        search_output.draw(found, so_far, searching.out)
    search_output.show(found, so_far, rows, searching.out, as_json)


def status(name: str, out: Path, as_json: bool) -> None:
    """Show what a search has found so far, from its storage alone."""
    storage.check_installed()
    found = definition.load(out, name)
    so_far = standing(storage.open_study(found, out), found)
    search_output.show(found, so_far, [], out, as_json)


def _new(values: Mapping[str, Any]) -> Definition:
    """The search that the options of a command define, after all of them are checked."""
    options = run_options({k: v for k, v in values.items() if k in (*KEPT, "out", "as_json")})
    limits = Limits(flash=values["max_flash"], arena=values["max_arena"], macs=values["max_macs"])
    objectives = tuple(dict.fromkeys(values["objectives"])) or ("top1",)
    if limits.arena or "arena_bytes" in objectives:
        interpreter.check()
    if values["space"]:
        searched = space.read(values["space"])
    else:
        searched = default_space.default_space(options.task, limits, objectives)
    if values["storage"]:
        storage.check_url(values["storage"])
    found = Definition(
        name="",
        space=dict(searched.record),
        objectives=objectives,
        limits=limits.given,
        options=_kept(values),
        minutes=values["minutes"],
        trials=values["trials"],
        storage=values["storage"],
        lease=values["lease"],
    )
    name = values["name"] or definition.default_name(values["task"], found)
    definition.folder_of(Path(), name)
    return dataclasses.replace(found, name=name)


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of all trials as JSON."""
    kept = {name: values[name] for name in KEPT}
    kept |= {name: str(Path(kept[name]).absolute()) for name in PATHS if kept[name] is not None}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()}


def _restored(kept: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """The options of all trials as a command line gives them."""
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()}
    values |= {name: Path(kept[name]) for name in PATHS if kept[name] is not None}
    return {**values, "out": out, "measured_on": "validation"}
