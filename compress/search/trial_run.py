"""Run a trial: check the pipeline that Optuna proposes before any work, run it, and measure it on validation images."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from compress.findings import CannotTreat
from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.rows.result import Result
from compress.runs import precision
from compress.runs.context import RunContext
from compress.runs.folder import RunFolder
from compress.search.budget import Budget
from compress.search.default_space import usual_epochs
from compress.search.definition import Definition
from compress.search.finalists import run_folder
from compress.search.first_trials import FIRST
from compress.search.limits import BEYOND
from compress.search.longer_training import is_proposed, most_seconds
from compress.search.pace import scaled_epochs, seconds_of, work_of
from compress.search.prediction import Predictor
from compress.search.standing import (
    FACTS,
    FAILED,
    PACE,
    REFUSED,
    RESULT,
    WORDS,
    WORK,
    as_found,
    kind,
)
from compress.search.storage import EXCESSES, is_pruned
from compress.search.trial_progress import OutOfTime, TrialProgress

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial


INTERRUPTED = "interrupted"  # attribute of a trial: true if it goes on with an interrupted one


class NoTime(Exception):
    """Raised before a trial that would not end in the remaining time."""


class Later(Exception):
    """Raised before a trial that is proposed again, to run after an interrupted one."""


class TrialRun:
    """The objective function that Optuna calls with each trial. It returns the values of the objectives."""

    def __init__(
        self,
        definition: Definition,
        model: KerasModel,
        context: RunContext,
        budget: Budget,
    ) -> None:
        """
        Args:
          context: measures on validation images; rows stay in the run folders.
        """
        self.definition, self.model, self.context, self.budget = definition, model, context, budget
        self.space, self.limits = definition.parsed_space(), definition.parsed_limits()
        self.predict = Predictor(model, context.view(None))
        self.at_work: int | None = None  # number of the trial whose result Optuna does not have yet
        self._looked_at: dict[str, tuple[str | None, list[float]]] = {}  # cache of `_ahead`

    def __call__(self, trial: Trial) -> tuple[float, ...]:
        """Run the trial.

        Raises:
          optuna.TrialPruned: the trial was refused before any work, or stopped in training.
          NoTime: the trial would not end in time; a search with more time may propose it again.
          Later: an interrupted trial waits, which goes first; this one is proposed again after it.
          OutOfTime, KeyboardInterrupt: the trial is proposed again when the search is resumed.
        """
        import optuna

        self.at_work = trial.number
        try:
            return self._values(trial)
        except optuna.TrialPruned:
            raise
        except (NoTime, Later):
            raise
        except (OutOfTime, KeyboardInterrupt):
            trial.study.enqueue_trial(trial.params, user_attrs={INTERRUPTED: True})
            raise
        except BaseException as error:
            trial.set_user_attr(FAILED, f"{type(error).__name__}: {error}")
            raise

    def _values(self, trial: Trial) -> tuple[float, ...]:
        try:
            pipeline = self.space.pipeline(trial)
        except ValueError as error:  # options that do not go together
            raise self._refused(trial, str(error)) from None
        words = shlex.join(w for stage in pipeline.stages for w in stage.argv())
        trial.set_user_attr(WORDS, words)
        if (number := self._tried_as(trial, words)) is not None:
            raise self._refused(trial, f"the same as trial {number}")
        _let_interrupted_go_first(trial)
        refusal, excesses = self._ahead(words, pipeline)
        trial.set_user_attr(EXCESSES, excesses)
        if refusal:
            raise self._refused(trial, refusal)
        try:
            row = self._row(trial, pipeline)
        except CannotTreat as error:
            raise self._refused(trial, str(error)) from None
        values = [getattr(row, name) for name in self.definition.objectives]
        trial.set_user_attr(EXCESSES, self.limits.excesses(row))
        if None in values:
            raise self._refused(trial, f"it has no arena: {row.on_micro}")
        folder = self._folder(pipeline, row.run).path.name
        facts = {name: getattr(row, name) for name in FACTS if name != "folder"}
        trial.set_user_attr(RESULT, {**facts, "folder": folder})
        return tuple(float(value) for value in values)

    def _row(self, trial: Trial, pipeline: Pipeline) -> Result:
        """The row of the pipeline on validation images. Raises OutOfTime, or NoTime if it would not end in time."""
        epochs, done = sum(map(usual_epochs, pipeline.stages)), self._epochs_before(pipeline)
        self._check_time(trial, pipeline, epochs - done)
        reported_to = trial if is_pruned(self.definition) else None
        progress = TrialProgress(
            self.context.progress, reported_to, epochs, done, self.budget.is_over
        )
        try:
            context = dataclasses.replace(self.context, progress=progress)
            return pipeline.run(self.model, context)[-1]
        finally:
            if progress.trained and not self.budget.is_over():
                trial.set_user_attr(PACE, progress.seconds / progress.trained)

    def _check_time(self, trial: Trial, pipeline: Pipeline, epochs: int) -> None:
        """Raise OutOfTime if no time is left. Raise NoTime if the epochs would take too long, judged by other trials.

        Before NoTime, the same trial is proposed with as many epochs as fit, if the space allows so few. Before the
        longer training, they must fit into the share of the time that is for one trial.
        """
        if self.budget.is_over():
            raise OutOfTime
        if FIRST in trial.user_attrs and is_proposed(trial.study, self.definition):
            raise self._no_time(trial, "the best so far is trained longer instead")
        left = self.budget.seconds_left
        work = work_of(pipeline, self.predict)
        trial.set_user_attr(WORK, work)
        seconds = seconds_of(trial, epochs, work)
        if left is None or seconds is None:
            return
        most = most_seconds(trial.study, self.definition, left)
        if seconds > most:
            fewer = scaled_epochs(trial.params, self.definition, most / seconds)
            if is_less := sum(fewer.values()) < sum(trial.params[name] for name in fewer):
                # First trials are dropped for longer training, which may itself have to be shortened.
                late = is_proposed(trial.study, self.definition)
                trial.study.enqueue_trial(
                    {**trial.params, **fewer}, user_attrs={} if late else {FIRST: True}
                )
            if is_less or seconds > left:
                minutes = f"{seconds / 60:.1f} minutes, and {most / 60:.1f}"
                raise self._no_time(
                    trial,
                    f"it would take about {minutes} are {'left' if most == left else 'for it'}",
                )

    def _no_time(self, trial: Trial, why: str) -> NoTime:
        trial.set_user_attr(REFUSED, why)
        return NoTime(why)

    def _ahead(self, words: str, pipeline: Pipeline) -> tuple[str | None, list[float]]:
        """The reason to refuse the pipeline, None if it may fit; and its predicted excess over each limit."""
        if self.limits.given and words not in self._looked_at:
            try:
                found = self.predict(pipeline, list(self.limits.given))
            except ValueError as error:
                self._looked_at[words] = str(error), [BEYOND] * len(self.limits.given)
            else:
                excesses = self.limits.excesses_of(found.amounts)
                self._looked_at[words] = found.refusal(self.limits), excesses
        return self._looked_at.get(words, (None, []))

    def _refused(self, trial: Trial, why: str) -> Any:
        """The exception that tells Optuna that a trial was refused. The reason is stored with the trial."""
        import optuna

        trial.set_user_attr(REFUSED, why)
        return optuna.TrialPruned(why)

    def _tried_as(self, trial: Trial, words: str) -> int | None:
        """The number of an earlier trial with these words that is finished, stopped or running; None without one.

        A finished trial whose run was deleted does not count: the run is made again.
        """
        for other in trial.study.get_trials(deepcopy=False)[: trial.number]:
            same = other.user_attrs.get(WORDS) == words
            if not same or kind(other) not in ("finished", "stopped", "running"):
                continue
            if kind(other) == "finished" and not self._has_run(other):
                continue
            return other.number
        return None

    def _has_run(self, trial: FrozenTrial) -> bool:
        return run_folder(as_found(trial), self.context.out).has_manifest()

    def _epochs_before(self, pipeline: Pipeline) -> int:
        """The number of epochs of the first stages, as far as their runs are finished."""
        done, keys, incoming = 0, self.context.keys, self.model.digest
        training = precision.of_pipeline(pipeline.stages, incoming, keys)
        chosen = precision.known(self.context, training, self.context.data.train.pixels)
        keys = precision.decided(keys, chosen or "float32")
        for prefix in pipeline.prefixes()[1:]:
            run = keys.of_pipeline(prefix.stages, incoming)
            if not self._folder(prefix, run).has_manifest():
                break
            done += usual_epochs(prefix.stages[-1])
        return done

    def _folder(self, pipeline: Pipeline, run: str) -> RunFolder:
        return RunFolder.named(self.context.out, pipeline.folder_name(run))


def _let_interrupted_go_first(trial: Trial) -> None:
    """Raise Later if this trial is not an interrupted one, and one waits. This trial is then proposed again."""
    if INTERRUPTED in trial.user_attrs:
        return
    trials = trial.study.get_trials(deepcopy=False)
    if any(t.state.name == "WAITING" and INTERRUPTED in t.user_attrs for t in trials):
        marks = {FIRST: True} if FIRST in trial.user_attrs else {}
        trial.study.enqueue_trial(trial.params, user_attrs=marks)
        raise Later
