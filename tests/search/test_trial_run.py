"""One trial: refused before any work, run as any pipeline, stopped early, or broken off and proposed again."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.cli.search_output import command_again
from compress.files import write_json
from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import stages_of
from compress.runs import precision
from compress.runs.context import RunContext
from compress.runs.folder import RunFolder
from compress.search import loop, storage
from compress.search.budget import Budget
from compress.search.definition import Definition
from compress.search.first_trials import begin_with_the_shortest
from compress.search.longer_training import propose_longer_training
from compress.search.loop import work
from compress.search.standing import Standing, kind, standing
from compress.search.trial_progress import OutOfTime, TrialProgress
from compress.search.trial_run import TrialRun
from conftest import Silent

optuna = pytest.importorskip("optuna", reason="extra search")

PRUNE = {
    "chains": ["prune"],
    "prune": {"sparsity": [0.25, 0.75], "epochs": 0, "skip": [["conv1"]]},
}


def never() -> bool:
    return False


class Search:
    """A search in this process, as the command makes it."""

    def __init__(self, model: KerasModel, context: RunContext, **what: Any) -> None:
        fields = {"space": PRUNE, "objectives": ("top1",), "limits": {}, "options": {"seed": 0}}
        self.definition = Definition(**{"name": "one", **fields, **what})
        self.definition.save(context.out)
        self.context = dataclasses.replace(context, measured_on="validation", results=None)
        self.model = model
        self.study = storage.open_study(self.definition, context.out)

    def work(self, trials: int, until: float | None = None) -> Standing:
        budget = Budget(until, trials)
        run = TrialRun(self.definition, self.model, self.context, budget)
        self.why = work(self.study, self.definition, run, budget, lambda *_: None)
        return standing(self.study, self.definition)

    @property
    def kinds(self) -> list[str]:
        return [kind(trial) for trial in self.study.trials]


@pytest.fixture
def search(toy_model: KerasModel, context: RunContext) -> Callable[..., Search]:
    return lambda **what: Search(toy_model, context, **what)


def test_a_trial_is_an_ordinary_run_measured_on_validation(
    search: Callable[..., Search], context: RunContext, toy_model: KerasModel
) -> None:
    so_far = search().work(trials=1)
    assert so_far.best is not None
    folder = RunFolder(context.out / so_far.best.facts["folder"])
    finished = folder.load()
    assert finished is not None
    assert set(finished.rows) == {"validation"}
    row = finished.rows["validation"]
    assert (row.run, row.top1) == (so_far.best.facts["run"], so_far.best.facts["top1"])
    assert not context.results.exists()  # type: ignore[union-attr]
    # The same words find the run.
    made = dict.fromkeys(context.out.glob("*/manifest.json"))
    again = dataclasses.replace(context, measured_on="validation")
    rows = Pipeline(stages_of(so_far.best.words)).run(toy_model, again)
    assert rows[-1] == row
    assert dict.fromkeys(context.out.glob("*/manifest.json")) == made


def test_words_with_spaces_can_be_typed_again_and_the_row_label_has_no_quotes(
    search: Callable[..., Search], context: RunContext, toy_model: KerasModel, tmp_path: Path
) -> None:
    teacher = tmp_path / "my models" / "t.keras"
    teacher.parent.mkdir()
    toy_model.save(teacher)
    one = search(space={"chains": [f"distill --teacher '{teacher}' --epochs 1"]})
    best = one.work(trials=1).best
    assert best is not None
    words = shlex.split(command_again(one.definition, best.words, context.out))
    argv = words[words.index("distill") :]
    assert str(teacher) in argv
    assert [w for s in stages_of(best.words) for w in s.argv()] == argv
    finished = RunFolder(context.out / best.facts["folder"]).load()
    assert finished is not None
    assert finished.row.label == " ".join(argv)


def test_no_trial_is_run_twice_and_an_exhausted_space_ends_the_search(
    search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "IN_VAIN", 5)
    one = search()
    so_far = one.work(trials=50)
    assert so_far.finished == 2  # one for each value
    assert one.kinds.count("refused") >= 5
    assert one.why is not None
    assert "the same as trial" in one.why


def test_a_trial_whose_run_was_deleted_is_run_again_when_it_is_proposed(
    search: Callable[..., Search], context: RunContext
) -> None:
    one = search(space={"chains": ["prune --sparsity 0.25 --epochs 0"]})
    best = one.work(trials=1).best
    assert best is not None
    folder = context.out / best.facts["folder"]
    shutil.rmtree(folder)
    one.work(trials=2)
    assert one.kinds == ["finished", "finished"]
    assert RunFolder(folder).has_manifest()


def test_a_trial_over_a_limit_is_refused_before_any_work(
    search: Callable[..., Search], context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "IN_VAIN", 3)
    one = search(limits={"flash": 500})
    so_far = one.work(trials=50)
    assert (so_far.tried, so_far.refused) == (0, 3)
    assert list(context.out.glob("prune-*")) == []
    assert one.why is not None
    assert "over --max-flash 500" in one.why
    assert so_far.best is None


def test_a_trial_that_a_stage_refuses_is_refused(
    search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "IN_VAIN", 1)
    one = search(space={"chains": ["prune"], "prune": {"skip": ["conv1", "conv2", "logits"]}})
    one.work(trials=1)
    assert one.kinds == ["refused"]


def test_a_failed_trial_does_not_stop_the_others(
    search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Pipeline.run, []

    def broken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("a defect")
        return real(*arguments)

    monkeypatch.setattr(Pipeline, "run", broken)
    one = search()
    so_far = one.work(trials=2)
    assert (so_far.failed, so_far.finished) == (1, 1)
    assert one.study.trials[0].user_attrs["failed"] == "KeyError: 'a defect'"


def test_a_trial_interrupted_by_the_budget_comes_first_when_the_search_resumes(
    search: Callable[..., Search],
) -> None:
    one = search(space={"chains": ["finetune"], "finetune": {"epochs": [1], "learning-rate": 0.01}})
    looked = []

    class Over(Budget):
        def is_over(self) -> bool:
            looked.append(1)
            return 5 < len(looked) < 8  # in the middle of the training

    run = TrialRun(one.definition, one.model, one.context, Over())
    with pytest.raises(OutOfTime):
        one.study.optimize(run, n_trials=1)
    assert one.kinds == ["interrupted", "interrupted"]
    so_far = one.work(trials=1)
    assert so_far.finished == 1
    assert one.kinds == ["interrupted", "finished"]


def test_an_interrupted_trial_goes_on_before_first_trials_that_wait(
    search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ran = Pipeline.run, list[str]()

    def interrupted_once(pipeline: Pipeline, *arguments: Any) -> Any:
        ran.append(pipeline.label)
        if len(ran) == 1:
            raise KeyboardInterrupt
        return real(pipeline, *arguments)

    monkeypatch.setattr(Pipeline, "run", interrupted_once)
    chains = [f"prune --sparsity 0.{n} --epochs 0" for n in (2, 4, 6)]
    one = search(space={"chains": chains}, minutes=10)
    begin_with_the_shortest(one.study, one.definition)
    with pytest.raises(KeyboardInterrupt):
        one.work(trials=3)
    assert one.work(trials=3).finished == 3
    assert [label.split()[2] for label in ran] == ["0.2", "0.2", "0.4", "0.6"]


def test_values_are_those_of_the_objectives(search: Callable[..., Search]) -> None:
    one = search(space={"chains": ["quantize"]}, objectives=("top1", "file_bytes"))
    so_far = one.work(trials=1)
    assert so_far.best is not None
    assert one.study.trials[0].values == [
        so_far.best.facts["top1"], so_far.best.facts["file_bytes"],
    ]  # fmt: skip


class Asked:
    """A trial of Optuna that remembers what it was told, and is to be stopped at a step."""

    def __init__(self, stop_at: int) -> None:
        self.told: dict[int, float] = {}
        self.stop_at = stop_at

    def report(self, value: float, step: int) -> None:
        assert step not in self.told
        self.told[step] = value

    def should_prune(self) -> bool:
        return max(self.told) >= self.stop_at


def epochs(progress: TrialProgress, count: int, first: int = 1) -> None:
    for epoch in range(first, first + count):
        progress.epoch({"epoch": epoch, "validation_accuracy": epoch / 10, "seconds": 2.0})


def test_each_tenth_of_all_epochs_is_reported_to_the_pruner_once() -> None:
    asked: Any = Asked(stop_at=99)
    progress = TrialProgress(Silent(), asked, epochs=5, done=1, is_over=never)
    progress.begin("first", 2, 1, 1, 0)
    epochs(progress, 2)
    assert sorted(asked.told) == [3, 4, 5, 6]
    progress.begin("second", 2, 1, 1, 0)
    epochs(progress, 2)
    assert sorted(asked.told) == list(range(3, 11))
    assert asked.told[8] == 0.1


def test_a_resumed_training_reports_no_tenth_that_was_done_before() -> None:
    asked: Any = Asked(stop_at=99)
    progress = TrialProgress(Silent(), asked, epochs=10, done=0, is_over=never)
    progress.begin("training", 10, 1, 1, done=7)
    epochs(progress, 1, first=8)
    assert asked.told == {8: 0.8}


def test_a_training_that_diverged_and_begins_again_counts_its_epochs_once() -> None:
    asked: Any = Asked(stop_at=99)
    progress = TrialProgress(Silent(), asked, epochs=10, done=0, is_over=never)
    progress.begin("training", 10, 1, 1, 0)
    epochs(progress, 2)
    progress.begin("training", 10, 1, 1, 0)
    epochs(progress, 2)
    assert sorted(asked.told) == [1, 2]
    epochs(progress, 1, first=3)
    assert asked.told[3] == 0.3


def test_a_trial_below_the_others_is_stopped_and_one_at_its_end_is_not() -> None:
    asked: Any = Asked(stop_at=5)
    progress = TrialProgress(Silent(), asked, epochs=4, done=0, is_over=never)
    progress.begin("training", 4, 1, 1, 0)
    epochs(progress, 1)
    with pytest.raises(optuna.TrialPruned):
        epochs(progress, 1, first=2)
    at_end: Any = Asked(stop_at=10)
    progress = TrialProgress(Silent(), at_end, epochs=1, done=0, is_over=never)
    progress.begin("training", 1, 1, 1, 0)
    epochs(progress, 1)


def test_a_trial_whose_lease_ran_out_meanwhile_does_not_end_the_search(
    search: Callable[..., Search], tmp_path: Path
) -> None:
    """As after a machine slept: another process marked the trial as failed, so Optuna refuses its result."""
    one = search()
    run = TrialRun(one.definition, one.model, one.context, Budget())
    real = run._values

    def slept(trial: Any) -> Any:
        values = real(trial)
        if trial.number == 0:
            failed = optuna.trial.TrialState.FAIL
            one.study._storage.set_trial_state_values(trial._trial_id, failed)
        return values

    run._values = slept  # type: ignore[method-assign]
    work(one.study, one.definition, run, Budget(None, 1), lambda *_: None)
    assert one.kinds[0] == "interrupted"
    assert standing(one.study, one.definition).finished == 1


def test_a_training_does_not_begin_when_the_time_is_over() -> None:
    progress = TrialProgress(Silent(), None, epochs=1, done=0, is_over=lambda: True)
    with pytest.raises(OutOfTime):
        progress.begin("training", 1, 1, 1, 0)
    with pytest.raises(OutOfTime):
        progress.step(1, 0.0, 0.0)


def test_a_trial_that_would_not_end_in_time_is_not_begun(
    search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pace of earlier trials decides. The trial is not a failure: with more time it is proposed again."""
    monkeypatch.setattr(loop, "IN_VAIN", 1)
    one = search(
        space={"chains": ["finetune"], "finetune": {"epochs": [50], "learning-rate": 0.01}}
    )
    one.study.add_trial(
        optuna.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs={"pace": 60.0})
    )
    one.work(trials=1, until=time.monotonic() + 600)
    assert one.kinds == ["interrupted", "interrupted"]
    assert one.why is not None
    assert "it would take about 50.0 minutes, and" in one.why


def paced(one: Search, pace: float) -> None:
    """Add a trial whose epochs took so many seconds."""
    failed = optuna.trial.TrialState.FAIL
    one.study.add_trial(optuna.create_trial(state=failed, user_attrs={"pace": pace}))


EPOCHS = {
    "chains": ["finetune"],
    "finetune": {"epochs": {"low": 1, "high": 50}, "learning-rate": 0.01},
}


def test_a_trial_over_its_share_of_the_time_gets_as_many_epochs_as_fit(
    search: Callable[..., Search],
) -> None:
    """An eighth of 1000 minutes fits 2 epochs of 3000 seconds. A later trial may use all the time that is left."""
    one = search(space=EPOCHS, minutes=1000)
    paced(one, 3000)
    one.study.enqueue_trial({"chain": "finetune", "finetune.epochs": 40})
    assert one.work(trials=1, until=time.monotonic() + 60_000).finished == 1
    _, refused, tried = one.study.trials
    assert (
        refused.user_attrs["refused"] == "it would take about 2000.0 minutes, and 125.0 are for it"
    )
    assert tried.params["finetune.epochs"] == 2
    late = search(space=EPOCHS, minutes=1000, name="late")
    paced(late, 3000)
    late.study.enqueue_trial({"chain": "finetune", "finetune.epochs": 40})
    assert late.work(trials=1, until=time.monotonic() + 9900).finished == 1
    assert [t.params.get("finetune.epochs") for t in late.study.trials][:3] == [None, 40, 3]


def test_a_trial_with_the_fewest_epochs_runs_if_it_fits_the_time_left(
    search: Callable[..., Search],
) -> None:
    one = search(space=EPOCHS, minutes=10)
    paced(one, 200)
    one.study.enqueue_trial({"chain": "finetune", "finetune.epochs": 1})
    assert one.work(trials=1, until=time.monotonic() + 600).finished == 1


def test_at_half_time_the_best_is_trained_longer_and_first_trials_are_given_up(
    search: Callable[..., Search],
) -> None:
    space = {
        "chains": ["finetune", "prune --sparsity 0.5"],
        "finetune": {"epochs": {"low": 1, "high": 3}, "learning-rate": 0.01},
        "prune": {"epochs": 0},
    }
    one = search(space=space, minutes=30)
    begin_with_the_shortest(one.study, one.definition)
    one.work(trials=2, until=time.monotonic() + 600)
    assert one.kinds == ["finished", "interrupted", "finished"]
    short, given_up, longer = one.study.trials
    assert short.params["finetune.epochs"] == 1
    assert longer.params == {**short.params, "finetune.epochs": 3}
    assert given_up.user_attrs["refused"] == "the best so far is trained longer instead"


def test_longer_training_that_is_shortened_runs(search: Callable[..., Search]) -> None:
    """Its epochs take 2,000 seconds, but those of other trials of its chain take 4,000: it would not end in time."""
    one = search(space=EPOCHS, minutes=1000)
    one.study.enqueue_trial({"chain": "finetune", "finetune.epochs": 1})
    assert one.work(trials=1).finished == 1
    (best,) = one.study.trials
    for pace, values in ((2000.0, best.values), (4000.0, None), (4000.0, None)):
        state = optuna.trial.TrialState.COMPLETE if values else optuna.trial.TrialState.FAIL
        one.study.add_trial(
            optuna.create_trial(
                state=state, values=values, params=best.params, distributions=best.distributions,
                user_attrs={**best.user_attrs, "pace": pace, "work": 0},
            )
        )  # fmt: skip
    propose_longer_training(one.study, one.definition, standing(one.study, one.definition), 9900)
    assert one.work(trials=3, until=time.monotonic() + 9900).finished == 3
    longer, shortened = one.study.trials[4:]
    assert longer.user_attrs["refused"].startswith("it would take about 200.")
    assert [t.params["finetune.epochs"] for t in (longer, shortened)] == [4, 3]
    assert kind(shortened) == "finished"


def test_epochs_of_finished_first_stages_are_found_in_every_precision(
    toy_model: KerasModel, context: RunContext
) -> None:
    one = Search(toy_model, dataclasses.replace(context, precision="bfloat16"))
    run = TrialRun(one.definition, one.model, one.context, Budget())
    first, whole = (Pipeline(stages_of(f"finetune --epochs 3{w}")) for w in ("", " quantize"))
    assert run._epochs_before(whole) == 0
    keys = precision.decided(context.keys, "bfloat16")
    key = keys.of_pipeline(first.stages, toy_model.digest)
    write_json(context.out / first.folder_name(key) / "manifest.json", {})
    assert run._epochs_before(whole) == 3


def test_the_pace_of_a_trial_is_that_of_its_own_chain(search: Callable[..., Search]) -> None:
    space = {"chains": ["finetune", "prune"], "finetune": {"epochs": [5], "learning-rate": 0.01}}
    one = search(space=space)
    chains = optuna.distributions.CategoricalDistribution(space["chains"])
    for chain, pace in (("finetune", 0.1), ("prune", 1e6), ("prune", 1e6)):
        one.study.add_trial(
            optuna.create_trial(
                state=optuna.trial.TrialState.FAIL,
                params={"chain": chain},
                distributions={"chain": chains},
                user_attrs={"pace": pace},
            )
        )
    one.study.enqueue_trial({"chain": "finetune"})
    assert one.work(trials=1, until=time.monotonic() + 600).finished == 1
