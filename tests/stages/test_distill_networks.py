"""A student of distill is any network of the task, with its options; wrong options are refused before any work."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import click
import numpy as np
import pytest
from click.testing import CliRunner

from baselines.cifar10.task import Cifar10
from baselines.toy import Residual, Toy
from compress import registry
from compress.cli.main import cli
from compress.keras_models.model import KerasModel
from compress.pipelines.words import parse_stages
from compress.stages.distill import Distill
from compress.tasks.network import Network
from compress.tasks.task import BaselineNetwork
from compress.tasks.view import TaskView
from compress.training.recipe import Recipe
from compress.typed_options import option

ASKED = Distill(student_network="residual", student_option=("filters=6,3", "blocks=2"), epochs=1)
WORDS = [
    *["distill", "--epochs", "1", "--student-network", "residual"],
    *["--student-blocks", "2", "--student-filters", "6,3"],
]


def test_the_student_is_the_network_asked_for(toy_model: KerasModel, toy_view: TaskView) -> None:
    expected = KerasModel(Residual(filters=(6, 3), blocks=2).build(toy_view.train.images))
    outlined = ASKED.outline(toy_model, toy_view)
    student = ASKED.apply(toy_model, toy_view, seed=0)
    shapes = {name: kernel.shape for name, kernel in expected.kernels().items()}
    for model in (outlined, student):
        assert {name: kernel.shape for name, kernel in model.kernels().items()} == shapes
    mean = toy_view.train.images.mean() / 255
    assert student.keras.get_layer("centre").offset == pytest.approx(-mean)
    assert any(np.any(w != student.kernels()[n]) for n, w in outlined.kernels().items())


def test_the_student_is_trained_by_the_first_recipe_of_its_network(
    toy_model: KerasModel, toy_view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = list[Recipe]()
    monkeypatch.setattr(
        "compress.tasks.view.fit", lambda model, recipe, *rest, **options: used.append(recipe)
    )
    ASKED.apply(toy_model, toy_view, seed=0)
    Distill(epochs=1).apply(toy_model, toy_view, seed=0)
    assert used == [
        replace(Residual().recipes["residual"], epochs=1),
        replace(Toy().recipes["toy"], epochs=1),
    ]


def test_the_stage_round_trips_through_words_and_json() -> None:
    assert ASKED.argv() == WORDS
    (parsed,) = parse_stages(" ".join(WORDS))
    assert parsed == ASKED
    assert registry.build(json.loads(json.dumps(ASKED.spec()))) == ASKED
    (other_order,) = parse_stages(
        "distill --student-filters=6,3 --student-network=residual --student-option blocks=2 --epochs 1"
    )
    assert other_order == ASKED


def test_a_student_of_the_first_network_keeps_its_short_spelling() -> None:
    (stage,) = parse_stages("distill --student-width 0.25")
    assert stage.argv() == ["distill", "--student-width", "0.25"]
    assert stage.changed_options() == {"student_width": 0.25}
    assert stage.networks() == ()


def test_a_stage_after_the_student_options_is_parsed() -> None:
    stages = parse_stages(" ".join([*WORDS, "prune", "--sparsity", "0.25"]))
    assert [stage.name for stage in stages] == ["distill", "prune"]
    assert stages[0] == ASKED


@dataclass(frozen=True, kw_only=True)
class Wordy(Network):
    """A network with options of every kind."""

    name: ClassVar = "wordy"
    width: float = option(1.0, click.FloatRange(0, 2), "Width.")
    skip: tuple[str, ...] = option((), str, "Names.")
    deep: bool = option(False, click.BOOL, "Deep.")

    @property
    def recipes(self) -> dict[str, Recipe]:
        return {}

    def build(self, images: Any = None, *, dropout: float = 1.0) -> Any:
        raise NotImplementedError


def test_option_words_are_converted_to_the_types_of_the_network() -> None:
    network = Wordy().with_words(["skip=a", "deep=true", "skip=b", "width=0.5"])
    assert network == Wordy(skip=("a", "b"), deep=True, width=0.5)
    with pytest.raises(ValueError, match="network wordy: option 'width' is given twice"):
        Wordy().with_words(["width=1", "width=2"])


def test_student_width_is_refused_for_a_network_without_that_option(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    half = Distill(student_network="baseline").outline(toy_model, toy_view)
    assert half.params == Distill().outline(toy_model, toy_view).params < toy_model.params
    with pytest.raises(ValueError, match="network residual has no option 'width'; options here"):
        replace(ASKED, student_width=0.25).outline(toy_model, toy_view)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"student_network": "residul"}, "task toy has no network 'residul'; .* 'residual'"),
        ({"student_option": ("depth=2",)}, "network baseline has no option 'depth'"),
        (
            {"student_network": "residual", "student_option": ("block=2",)},
            "no option 'block'; options here: filters, blocks. Did you mean 'blocks'",
        ),
        (
            {"student_network": "residual", "student_option": ("blocks=9",)},
            "distill: residual: option 'blocks': 9 is not in the range 1<=x<=4",
        ),
        (
            {"student_network": "residual", "student_option": ("filters=3",)},
            "'3' is not 2 whole numbers from 1 to 64",
        ),
        (
            {"student_network": "residual", "student_option": ("blocks=2", "blocks=3")},
            "option 'blocks' is given twice",
        ),
    ],
)
def test_wrong_networks_and_network_options_are_refused_before_any_work(
    options: dict[str, Any], sentence: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Distill(**options).outline(toy_model, toy_view)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--student-blocks"], "Option '--student-blocks' requires an argument"),
        (["--student-option", "blocks"], "'blocks' is not NAME=VALUE, such as depth=14"),
        (["--studnet-blocks", "2"], "No such option '--studnet-blocks'"),
    ],
)
def test_malformed_student_options_are_refused(words: list[str], sentence: str) -> None:
    done = CliRunner().invoke(cli, ["distill", "--task", "toy", *words])
    assert done.exit_code == 2
    assert sentence in done.stderr.replace("no such", "No such")


def test_a_student_file_and_a_student_network_together_are_refused(
    toy_model: KerasModel, tmp_path: Any
) -> None:
    toy_model.save(tmp_path / "s.keras")
    with pytest.raises(ValueError, match="a student from a file does not go with --student"):
        Distill(student=str(tmp_path / "s.keras"), student_network="residual")


def test_the_command_trains_another_network_and_refuses_a_wrong_option() -> None:
    words = [*WORDS, "--task", "toy", "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)[-1]
    assert row["label"] == " ".join(WORDS)
    assert row["pipeline"][0]["student_option"] == ["blocks=2", "filters=6,3"]
    wrong = CliRunner().invoke(cli, [*words, "--student-depth", "2"])
    assert wrong.exit_code == 1
    assert wrong.stderr.strip().endswith(
        "Error: distill: network residual has no option 'depth'; options here: filters, blocks."
    )


def test_a_residual_network_of_cifar10_can_be_the_student() -> None:
    stage = Distill(student_network="resnet", student_option=("depth=8", "widths=2,3,4"))
    network = stage._network(TaskView(Cifar10(), None, None, None, None))  # type: ignore[arg-type]
    assert network == Cifar10().networks["resnet"].with_options({"depth": 8, "widths": (2, 3, 4)})


def test_a_task_with_only_a_baseline_network_has_students_of_it(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    class Plain(Toy):
        @property
        def networks(self) -> dict[str, Network]:
            return {"baseline": BaselineNetwork(task=self)}

    view = replace(toy_view, task=Plain())
    by_name = Distill(student_network="baseline", student_width=0.25)
    assert by_name.outline(toy_model, view).params == (
        Distill(student_width=0.25).outline(toy_model, view).params
    )
