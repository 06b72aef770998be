"""A file of pipelines is read before any work, runs in an order that shares work, and goes on after failures."""

from __future__ import annotations

import csv
import errno
import json
import re
import shlex
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from baselines.toy import Toy
from compress import registry, zoo
from compress.cli.main import cli
from compress.keras_models.model import KerasModel
from compress.pipelines import toml_file
from compress.rows.jsonl import read_from
from compress.runs.context import RunContext
from compress.stage import Stage
from compress.tasks.view import TaskView

BASELINE = Toy().baseline_path()


@dataclass(frozen=True, kw_only=True)
class Fail(Stage):
    """Fail at work, after all checks."""

    name: ClassVar = "fail"

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        raise OSError("the disk is full.")


@dataclass(frozen=True, kw_only=True)
class Break(Stage):
    """Fail with an unexpected error."""

    name: ClassVar = "break"

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        raise RuntimeError("a defect")


@dataclass(frozen=True, kw_only=True)
class Full(Stage):
    """Fail because the disk is full."""

    name: ClassVar = "full"

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        raise OSError(errno.ENOSPC, "No space left on device", "model.keras")


@dataclass(frozen=True, kw_only=True)
class Refuse(Stage):
    """Refuse every model."""

    name: ClassVar = "refuse"

    def check(self, model: KerasModel) -> list[str]:
        raise ValueError("refuse: not this model.")

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def stages_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry.entry_points

    def with_these(group: str) -> list[EntryPoint]:
        mine = [
            EntryPoint(c.lower(), f"{__name__}:{c}", "compress.stages")
            for c in ("Break", "Fail", "Full", "Refuse")
        ]
        return [*found(group=group), *(mine if group == "compress.stages" else [])]

    monkeypatch.setattr(registry, "entry_points", with_these)


def written(text: str, name: str = "pipelines.toml") -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


def plans(text: str, seed: int = 0, model: Path | None = None) -> list[toml_file.PlannedRun]:
    return toml_file.read(written(text), seed, model)


# Reading


def test_run_words_and_stage_specs_give_the_same_pipeline() -> None:
    words, specs = plans(
        """
        [[pipeline]]
        run = "prune --sparsity 0.75 --skip conv1 --skip 'logits' quantize --scheme float16"
        [[pipeline]]
        stages = [
          {stage = "prune", sparsity = 0.75, skip = ["conv1", "logits"]},
          {stage = "quantize", scheme = "float16"},
        ]
        """
    )
    assert words.pipeline == specs.pipeline
    assert (
        words.name == "prune --sparsity 0.75 --skip conv1 --skip logits quantize --scheme float16"
    )


def test_the_label_of_a_row_can_be_given_to_run() -> None:
    stages = (registry.stage("prune")(sparsity=0.75, skip=("a b",)), registry.stage("quantize")())
    label = shlex.join(word for stage in stages for word in stage.argv())
    (planned,) = plans(f"[[pipeline]]\nrun = {json.dumps(label)}\n")
    assert planned.pipeline.stages == stages


def test_the_examples_of_the_docs_page_are_valid_pipelines() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", page, re.S)
    found = [{(p.name, p.seed) for p in plans(block)} for block in blocks]
    first = {
        (f"prune --sparsity 0.5{rest}", seed)
        for rest in ("", " quantize --scheme int8")
        for seed in range(3)
    }
    assert found[0] == first | {("hard", 0)}
    assert found[1] == {("prune --sparsity 0.5 quantize --scheme int8", 0)}


def test_an_option_value_with_the_name_of_a_stage_is_no_stage() -> None:
    (planned,) = plans("[[pipeline]]\nrun = 'prune --skip quantize round'")
    assert [s.name for s in planned.pipeline.stages] == ["prune", "round"]
    assert planned.pipeline.stages[0].spec()["skip"] == ["quantize"]


def test_a_pipeline_overrides_the_file_and_the_file_overrides_the_command_line() -> None:
    text = """
        seeds = [4, 5]
        [[pipeline]]
        name = "own"
        run = "round"
        seeds = [6]
        model = "own.keras"
        [[pipeline]]
        name = "shared"
        run = "round"
    """
    found = {(p.name, p.seed, p.model) for p in plans(text, seed=9, model=Path("given.keras"))}
    given = Path("given.keras").absolute()
    assert found == {("own", 6, Path("own.keras")), ("shared", 4, given), ("shared", 5, given)}
    (alone,) = plans("[[pipeline]]\nrun = 'round'", seed=9)
    assert (alone.seed, alone.model) == (9, None)


def test_a_model_path_is_relative_to_the_pipeline_file() -> None:
    path = written("model = 'm.keras'\n[[pipeline]]\nrun = 'round'", "folder/p.toml")
    assert toml_file.read(path, 0, None)[0].model == Path("folder/m.keras")


def test_a_model_of_the_zoo_is_named_as_on_the_command_line() -> None:
    own = "[[pipeline]]\nrun = 'round'\nmodel = 'zoo:plain'\n"
    shared = f"model = 'zoo:teacher'\n{own}[[pipeline]]\nrun = 'prune'"
    found = {planned.name: planned.model for planned in plans(shared)}
    files = {name: zoo.models()[name].file for name in ("plain", "teacher")}
    assert list(found.values()) == [files["plain"], files["teacher"]]
    with pytest.raises(ValueError, match=r"pipelines\.toml, pipeline 1: no zoo model 'plane'"):
        plans(own.replace("plain", "plane"))


def test_pipelines_with_a_common_prefix_are_grouped_shorter_first() -> None:
    texts = [
        "prune round",
        "round prune",
        "prune",
        "round",
        "prune round --digits 3 quantize",
        "round",
    ]
    listed = "".join(f"[[pipeline]]\nrun = '{t}'\n" for t in texts)
    found = [p.pipeline.stages for p in plans(f"seeds = [1, 0]\n{listed}")]
    assert [p.seed for p in plans(f"seeds = [1, 0]\n{listed}")] == [0] * 6 + [1] * 6
    for longer in set(found):
        for length in range(1, len(longer)):
            prefix = longer[:length]
            if prefix in found:
                assert found.index(prefix) < found.index(longer)
    firsts = [stages[0] for stages in found[:6]]
    assert firsts == sorted(firsts, key=lambda s: s.name)


PROBLEMS = [
    ("", "pipelines.toml: no pipelines; expected [[pipeline]]"),
    ("pipeline = []", "no pipelines"),
    ("[pipeline]\nrun = 'round'", "no pipelines"),
    ("pipeline = ['round']", "pipeline 1: is 'round'; expected [[pipeline]]"),
    ("x = ", "pipelines.toml is not a TOML file"),
    ("x = " + "[" * 3000, "pipelines.toml is not a TOML file"),
    ("seed = 1\n[[pipeline]]\nrun = 'round'", "unknown key 'seed'; keys here: pipeline, model, seeds."),
    ("[[pipeline]]\nrum = 'round'", "pipeline 1: unknown key 'rum'; keys here: name, run, stages, model, seeds. Did"),
    ("[[pipeline]]\nname = 'x'", "pipeline 1: expected either run ="),
    ("[[pipeline]]\nrun = 'round'\nstages = [{stage = 'round'}]", "expected either run ="),
    ("[[pipeline]]\nrun = ''", "run is ''; expected stages"),
    ("[[pipeline]]\nrun = ['round']", "run is ['round']; expected stages"),
    ("[[pipeline]]\nrun = \"round '\"", "pipeline 1: No closing quotation"),
    ("[[pipeline]]\nrun = 'round'\n[[pipeline]]\nrun = 'prun'", "pipeline 2: no stage 'prun'; stages here"),
    ("[[pipeline]]\nrun = 'prune --sparsty 1'", "pipeline 1: No such option"),
    ("[[pipeline]]\nrun = 'prune --sparsity 2'", "'--sparsity': 2.0 is not in the range"),
    ("[[pipeline]]\nrun = 'prune --help'", "No such option"),
    ("[[pipeline]]\nrun = '--seed 3 prune'", "pipeline 1: --seed is not an option of a stage: seeds and"),
    ("[[pipeline]]\nrun = 'quantize prune'", "quantize gives a tflite model but prune takes keras"),
    ("[[pipeline]]\nstages = 'round'", "stages is 'round'; expected [{stage ="),
    ("[[pipeline]]\nstages = []", "stages is []; expected [{stage ="),
    ("[[pipeline]]\nstages = [{digits = 1}]", "needs the key 'stage'"),
    ("[[pipeline]]\nstages = [{stage = 'round', digit = 1}]", "round: no option 'digit'"),
    ("[[pipeline]]\nstages = [{stage = ['round']}]", "pipeline 1: "),
    ("[[pipeline]]\nstages = [{stage = 'prune', sparsity = 1979-05-27}]", "pipeline 1: "),
    ("[[pipeline]]\nstages = [{stage = 'prune', renew_statistics = 1}]", "'renew_statistics': 1 is not a valid bool"),
    ("[[pipeline]]\nstages = [{stage = 'prune', epochs = inf}]", "pipeline 1: prune: option 'epochs': inf is not a"),
    (f"[[pipeline]]\nstages = [{{stage = 'prune', sparsity = {10**400}}}]", "pipeline 1: prune: option 'sparsity': 10"),
    ("[[pipeline]]\nrun = 'round'\nname = 3", "name and model are text"),
    ("[[pipeline]]\nrun = 'round'\nmodel = 3", "name and model are text"),
    ("seeds = []\n[[pipeline]]\nrun = 'round'", "seeds is []; expected a list of whole numbers"),
    ("seeds = 3\n[[pipeline]]\nrun = 'round'", "seeds is 3; expected"),
    ("seeds = [true]\n[[pipeline]]\nrun = 'round'", "seeds is [True]; expected"),
    ("seeds = [-1]\n[[pipeline]]\nrun = 'round'", "seeds is [-1]; expected"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), PROBLEMS)
def test_a_wrong_file_is_refused_with_its_name_and_the_place(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"pipelines\.toml") as caught:
        plans(text)
    assert sentence in str(caught.value)


def test_a_file_that_is_not_text_or_too_long_is_refused() -> None:
    Path("p.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is not a TOML file"):
        toml_file.read(Path("p.toml"), 0, None)
    Path("p.toml").write_bytes(b"#" * 2_000_000)
    with pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        toml_file.read(Path("p.toml"), 0, None)


# Running


def compress(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def test_a_failed_pipeline_does_not_stop_the_others() -> None:
    written(
        """
        [[pipeline]]
        name = "bad"
        run = "fail"
        [[pipeline]]
        run = "round --digits 1 round --digits 0"
        [[pipeline]]
        run = "round --digits 1"
        """
    )
    done = compress("run", "--task", "toy", "--pipeline", "pipelines.toml", "--json")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "Error: 1 of 3 pipelines failed: bad."
    said = json.loads(done.stdout)
    assert [(s["name"], s["error"], len(s["rows"])) for s in said] == [
        ("bad", "the disk is full.", 0),
        ("round --digits 1", None, 2),
        ("round --digits 1 round --digits 0", None, 3),
    ]
    # The stage that two pipelines share is computed once, and so is the baseline of all three.
    rows = [json.loads(x) for x in Path("reports/results.jsonl").read_text().splitlines()]
    assert [r["label"] for r in rows] == ["baseline", *(s["name"] for s in said[1:])]
    assert done.stderr.count("round --digits 1: reused from") == 1
    assert Path("reports/comparison.md").exists()


def test_an_unexpected_error_shows_its_traceback_and_does_not_stop_the_others() -> None:
    written("[[pipeline]]\nrun = 'break'\n[[pipeline]]\nname = 'good'\nrun = 'round'")
    done = compress("run", "--task", "toy", "--pipeline", "pipelines.toml", "--json")
    assert done.exit_code == 1
    assert 'raise RuntimeError("a defect")' in done.stderr
    assert done.stderr.splitlines()[-1] == "Error: 1 of 2 pipelines failed: break."
    assert [(s["name"], s["error"]) for s in json.loads(done.stdout)] == [
        ("break", "RuntimeError: a defect"),
        ("good", None),
    ]


def test_without_json_rows_and_a_summary_are_shown_as_tables() -> None:
    written(f"seeds = [0, 7]\nmodel = '{BASELINE}'\n[[pipeline]]\nname = 'tenths'\nrun = 'round'")
    done = compress("run", "--task", "toy", "--pipeline", "pipelines.toml")
    assert done.exit_code == 0, done.output
    summary = [x.split() for x in done.stdout.splitlines() if x.startswith("tenths")]
    assert [(x[1], x[-1]) for x in summary] == [("0", "done"), ("7", "done")]
    assert "Rows: reports/results.jsonl" in done.stdout
    assert "pipeline 2 of 2: tenths, seed 7" in done.stderr


def test_the_baseline_is_shown_once_for_several_seeds() -> None:
    written("seeds = [0, 7]\n[[pipeline]]\nrun = 'round'")
    shown = [compress("run", "--task", "toy", "--pipeline", "pipelines.toml")]
    shown.append(compress("run", "--task", "toy", "round", "--seed", "9"))
    measured = [row.label for row in read_from(Path("reports/results.jsonl"))]
    assert measured.count("baseline") == 3  # each seed measures its own
    for done in shown:
        assert done.exit_code == 0, done.output
        assert len(re.findall("^ *baseline ", done.stdout, re.M)) == 1
    tables = Path("reports/comparison.md").read_text().split("\n\n")
    assert max(table.count("\n| baseline |") for table in tables) == 1
    with Path("reports/comparison.csv").open(newline="") as file:
        assert [line["label"] for line in csv.DictReader(file)].count("baseline") == 1


def test_a_full_disk_has_the_same_message_with_and_without_a_pipeline_file() -> None:
    written("[[pipeline]]\nrun = 'full'")
    done = compress("run", "--task", "toy", "--pipeline", "pipelines.toml", "--json")
    alone = compress("full", "--task", "toy")
    assert alone.stderr.splitlines()[-1] == "Error: model.keras: No space left on device."
    assert json.loads(done.stdout)[0]["error"] == "model.keras: No space left on device."
    assert "full, seed 0, failed: model.keras: No space left on device." in done.stderr


def test_failure_of_all_pipelines_gives_no_traceback() -> None:
    written("[[pipeline]]\nrun = 'fail'")
    done = compress("run", "--task", "toy", "--pipeline", "pipelines.toml")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "Error: 1 of 1 pipelines failed: fail."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[pipeline]]\nrun = 'round'\n[[pipeline]]\nrun = 'refuse'", "pipeline 'refuse': refuse: not this model."),
        ("[[pipeline]]\nrun = 'round'\n[[pipeline]]\nrun = 'round'\nmodel = 'x.keras'", "no file x.keras"),
        ("[[pipeline]]\nrun = 'round'\n[[pipeline]]\nrun = 'prun'", "pipelines.toml, pipeline 2: no stage"),
    ],
)  # fmt: skip
def test_no_pipeline_runs_if_one_is_refused(text: str, sentence: str) -> None:
    written(text)
    done = compress("run", "--task", "toy", "--pipeline", "pipelines.toml")
    assert done.exit_code == 1
    assert sentence in done.stderr
    assert not Path("reports/results.jsonl").exists()


def test_stages_and_a_pipeline_file_together_are_refused() -> None:
    written("[[pipeline]]\nrun = 'round'")
    done = compress("run", "--pipeline", "pipelines.toml", "round")
    assert done.exit_code == 2
    assert "in the file of --pipeline or here" in done.stderr.replace("\n", " ")
    assert compress("run", "--pipeline", "nowhere.toml").exit_code == 1


def test_seed_of_the_plan_is_the_seed_of_its_rows(
    context: RunContext, toy_model: KerasModel
) -> None:
    starts: dict[Any, Any] = {None: (toy_model, context)}
    outcomes = toml_file.run(plans("seeds = [2, 1]\n[[pipeline]]\nrun = 'round'"), starts)
    assert [[row.seed for row in outcome.rows] for outcome in outcomes] == [[1, 1], [2, 2]]
