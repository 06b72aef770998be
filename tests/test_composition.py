"""All compatible pairs of stages and common longer chains run, and their files keep the promises of every stage."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from baselines.toy import Toy
from compress import registry
from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.rows.result import Result
from compress.runs.context import RunContext
from compress.stage import Stage
from compress.tflite.contents import kernels
from compress.tflite.model import TFLiteModel
from conftest import Silent

FIRST = [n for n in registry.stage_names() if registry.stage(n).gives == "keras"]
SECOND = [n for n in registry.stage_names() if registry.stage(n).takes == "keras"]
CHAINS = [
    "distill prune qat",
    "distill quantize",
    "prune-filters prune cluster qat",
    "prune cluster quantize",
    "prune-filters distill prune quantize",
    "cluster prune finetune quantize",
]


BRIEF = {"epochs": 1, "learning_rate": 0.001}


def quick(name: str) -> Stage:
    """The stage with default options, except one epoch at a given learning rate."""
    cls = registry.stage(name)
    options = {f.name for f in dataclasses.fields(cls)}
    return cls(**{option: value for option, value in BRIEF.items() if option in options})


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """One context for all tests of this module, so that shared prefixes are computed once, as for a user."""
    folder = tmp_path_factory.mktemp("composed")
    return RunContext(
        task=Toy(), data=Toy().load(None, print), seed=0, out=folder / "runs",
        results=folder / "results.jsonl", progress=Silent(), command="compress run ...",
    )  # fmt: skip


def run(names: list[str], model: KerasModel, context: RunContext) -> list[Result]:
    return Pipeline(tuple(quick(name) for name in names)).run(model, context)


# Each stage as first and as second stage, with common partners; every pair is tested before a release.
USUAL = ("prune", "quantize")
PAIRS = [
    pytest.param(a, b, marks=[] if a in USUAL or b in USUAL else [pytest.mark.slow])
    for a, b in itertools.product(FIRST, SECOND)
]


def check_rows(
    rows: list[Result], names: list[str], model: KerasModel, context: RunContext
) -> None:
    """Check that each row has one more stage and describes the file in its run folder, which the stage changed.

    A file that breaks a promise would be an error of the run.
    """
    assert [row.pipeline for row in rows] == [
        [quick(name).spec() for name in names[:n]] for n in range(len(names) + 1)
    ]
    assert {row.model for row in rows} == {model.digest}
    for row in rows:
        (folder,) = context.out.glob(f"*-{row.run[:12]}")
        assert TFLiteModel.load(folder / "model.tflite").digest == row.tflite_digest
    assert len({row.tflite_digest for row in rows}) == len(rows)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_any_two_compatible_stages_run_and_keep_their_promises(
    first: str, second: str, toy_model: KerasModel, context: RunContext
) -> None:
    check_rows(run([first, second], toy_model, context), [first, second], toy_model, context)


@pytest.mark.parametrize(
    "chain",
    [CHAINS[0], *(pytest.param(chain, marks=pytest.mark.slow) for chain in CHAINS[1:])],
)
def test_longer_chains_run_and_keep_their_promises(
    chain: str, toy_model: KerasModel, context: RunContext
) -> None:
    names = chain.split()
    rows = run(names, toy_model, context)
    check_rows(rows, names, toy_model, context)
    if names[-1] in ("qat", "quantize"):
        assert set(rows[-1].weight_types) <= {"int8", "int32"}
    if "prune" in names and "distill" not in names[names.index("prune") :]:
        # No later stage made pruned weights nonzero.
        assert rows[-1].sparsity >= rows[names.index("prune") + 1].sparsity - 1e-6


def test_few_shared_values_stay_shared_in_four_bits(
    toy_model: KerasModel, context: RunContext
) -> None:
    cluster, quantize = registry.stage("cluster"), registry.stage("quantize")
    chain = Pipeline((cluster(clusters=4, **BRIEF), quantize(scheme="int4")))  # type: ignore[call-arg]
    assert len(chain.run(toy_model, context)) == 3  # a broken promise would raise


KEEPING = [n for n in SECOND if registry.stage(n).keeps_architecture]


@pytest.mark.parametrize("second", KEEPING)
def test_stages_that_keep_the_architecture_keep_zeros_of_a_pruned_model(
    second: str, toy_model: KerasModel, context: RunContext
) -> None:
    row = run(["prune", second], toy_model, context)[-1]
    assert len(row.kernel_sparsity) == 3
    assert min(row.kernel_sparsity.values()) >= 0.5


@pytest.mark.parametrize("second", KEEPING)
def test_stages_that_keep_the_architecture_keep_shared_weights(
    second: str, toy_model: KerasModel, context: RunContext
) -> None:
    row = run(["cluster", second], toy_model, context)[-1]
    (folder,) = context.out.glob(f"*-{row.run[:12]}")
    for kernel in kernels(TFLiteModel.load(folder / "model.tflite").content):
        channels = np.moveaxis(kernel.values, kernel.channel_axes[0], 0)
        for channel in channels.reshape(len(channels), -1):
            assert len(set(channel[channel != 0])) <= 16


def test_stages_of_a_shared_prefix_ran_once(toy_model: KerasModel, context: RunContext) -> None:
    """The second of two pipelines reuses the runs of the first one, whether or not other tests ran before."""
    run(["finetune", "prune"], toy_model, context)
    again = Silent()
    pipeline = Pipeline((quick("finetune"), quick("quantize")))
    pipeline.run(toy_model, dataclasses.replace(context, progress=again))
    assert [n.split(":")[0] for n in again.notes][:2] == [
        "baseline",
        "finetune --epochs 1 --learning-rate 0.001",
    ]
    assert all("reused" in n for n in again.notes[:2])
