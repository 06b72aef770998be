"""A run's key: what changes it, what does not, and pinned keys that only a new version may change."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import click
import pytest
from compress_round import Round

from baselines.cifar10.task import Cifar10
from baselines.toy import Toy
from compress.data.dataset import DataDigests
from compress.rows.result import Result
from compress.runs import keys
from compress.runs.keys import KeyContext
from compress.runs.options import RunOptions
from compress.stage import Stage, option
from compress.stages.distill import Distill
from compress.stages.finetune import Finetune
from compress.stages.prune import Prune
from compress.stages.qat import Qat
from compress.stages.quantize import Quantize
from compress.tasks.images import Images
from compress.tasks.network import Network
from compress.tasks.task import BaselineNetwork
from compress.tflite import convert
from compress.training import fit, precision, views
from compress.training.param_groups import ParamGroup
from compress.training.recipe import Recipe

VERSIONS = {"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "tf-keras": "2.21.0"}
VERSIONS |= {"tensorflow-model-optimization": "0.8.1", "ai-edge-quantizer": "0.10.0"}
MODEL = "0" * 64
CONTEXT = KeyContext(
    task=Images((8, 8, 3), 1.0), input_scale=1.0, data=DataDigests("data", "a", "b"), seed=0
)

WHOLE = BaselineNetwork(task=CONTEXT.task)
HALF = BaselineNetwork(task=CONTEXT.task, width=0.5)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The installed versions that keys see."""
    installed = dict(VERSIONS)
    monkeypatch.setattr(keys, "version_of", lambda name: installed.get(name, "absent"))
    return installed


def of(*stages: Stage, context: KeyContext = CONTEXT) -> str:
    return context.of_pipeline(stages, MODEL)


def test_keys_equal_the_pinned_keys() -> None:
    """If one of these keys changes, every kept run of every user is computed again: raise a version instead.

    Raise a version when you change what it stands for; then only the keys that depend on it may change.
    """
    found = {
        "baseline": of(),
        "prune": of(Prune(sparsity=0.5)),
        "prune quantize": of(Prune(sparsity=0.5), Quantize()),
        "qat": of(Qat()),
        "train": CONTEXT.of_training(Recipe(summary="", epochs=3, learning_rate=0.1), HALF),
    }
    assert {name: key[:16] for name, key in found.items()} == PINNED


PINNED = {
    "baseline": "aa136204674f66cf",
    "prune": "14e45f576dd44ee6",
    "prune quantize": "594f205c7a71ec39",
    "qat": "f8e8507a071ee0a5",
    "train": "129eaeb6c41bf31a",
}


@dataclass(frozen=True, kw_only=True)
class Before(Stage):
    """A stage of this package, as far as its code counts."""

    name: ClassVar = "made-up"
    amount: int = option(1, click.INT, "How much.")

    def apply(self, model: Any, task: Any, seed: int) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class After(Before):
    """The same with one more option and another text."""

    more: float = option(0.5, click.FLOAT, "How much more.")


for cls in (Before, After):
    cls.__module__ = "compress.stages.made_up"


def test_a_new_option_at_its_default_changes_no_key() -> None:
    assert of(After(amount=2)) == of(Before(amount=2))
    assert of(After(more=0.7)) != of(Before())


def test_the_version_of_a_built_in_stage_changes_its_key() -> None:
    raised = type("Raised", (Before,), {"version": 2, "__module__": Before.__module__})
    assert of(raised()) != of(Before())


def test_an_option_set_to_its_default_is_the_same_run() -> None:
    assert of(Prune(sparsity=0.5)) == of(Prune())
    assert of(Prune(sparsity=0.6)) != of(Prune())


def test_a_new_recipe_field_at_its_default_changes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class More(Recipe):
        precision: str = "float32"

    plain = Recipe(summary="A.", epochs=3, learning_rate=0.1, crop=4)
    more = More(summary="B.", epochs=3, learning_rate=0.1, crop=4)
    assert CONTEXT.of_training(more, WHOLE) == CONTEXT.of_training(plain, WHOLE)
    other = dataclasses.replace(more, precision="bfloat16")
    assert CONTEXT.of_training(other, WHOLE) != CONTEXT.of_training(plain, WHOLE)


@pytest.mark.parametrize("change", [{"epochs": 4}, {"learning_rate": 0.2}, {"flip": True}], ids=str)
def test_another_recipe_is_another_training(change: dict[str, Any]) -> None:
    plain = Recipe(summary="", epochs=3, learning_rate=0.1)
    changed = dataclasses.replace(plain, **change)
    assert CONTEXT.of_training(changed, WHOLE) != CONTEXT.of_training(plain, WHOLE)


def test_the_key_holds_the_name_changed_options_and_version_of_a_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, recipe = (
        dataclasses.replace(CONTEXT, task=Toy()),
        Recipe(summary="", epochs=1, learning_rate=0.1),
    )
    first, residual = Toy().networks.values()

    def key(network: Network) -> str:
        return context.of_training(recipe, network)

    assert key(residual) == key(residual.with_options({"filters": [8, 4], "blocks": 1}))
    three = [first, residual, residual.with_options({"blocks": 2})]
    assert len({key(network) for network in three}) == 3
    before = key(residual)
    monkeypatch.setattr(type(residual), "version", 2)
    assert key(residual) != before


def test_the_key_holds_the_version_and_recipe_of_a_student_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, residual = dataclasses.replace(CONTEXT, task=Toy()), type(Toy().networks["residual"])

    def key(**options: Any) -> str:
        return of(Distill(student_network="residual", **options), context=context)

    before = key()
    assert len({before, key(student_option=("blocks=2",)), of(Distill(), context=context)}) == 3
    monkeypatch.setattr(residual, "version", 2)
    versioned = key()
    other = {"other": Recipe(summary="", epochs=1, learning_rate=0.3)}
    monkeypatch.setattr(residual, "recipes", other)
    assert len({before, versioned, key()}) == 3
    with pytest.raises(ValueError, match="task toy has no network 'gone'"):
        of(Distill(student_network="gone"), context=context)


def test_an_option_of_the_first_network_other_than_width_changes_the_key() -> None:
    deeper = dataclasses.make_dataclass(
        "Deeper", [("depth", int, option(1, click.INT, "Depth."))], bases=(BaselineNetwork,),
        frozen=True, kw_only=True,
    )  # fmt: skip
    recipe = Recipe(summary="", epochs=3, learning_rate=0.1)
    keys_of = [CONTEXT.of_training(recipe, deeper(task=CONTEXT.task, depth=d)) for d in (1, 2)]
    assert keys_of[0] == CONTEXT.of_training(recipe, WHOLE) != keys_of[1]


def test_the_key_holds_the_changed_fields_of_parameter_groups() -> None:
    plain = Recipe(summary="", epochs=3, learning_rate=0.1, optimizer="sgd")
    grouped = dataclasses.replace(plain, param_groups=(ParamGroup(end="/beta", l2=0.5),))
    assert grouped.changed_fields()["param_groups"] == [{"end": "/beta", "l2": 0.5}]
    assert CONTEXT.of_training(grouped, WHOLE) != CONTEXT.of_training(plain, WHOLE)


def with_finetuning(recipe: Recipe) -> KeyContext:
    class Tuned(Images):
        @property
        def finetuning(self) -> Recipe:
            return recipe

    Tuned.__module__ = Images.__module__
    return dataclasses.replace(CONTEXT, task=Tuned((8, 8, 3), 1.0))


def test_the_finetuning_recipe_of_a_task_changes_only_keys_of_stages_that_train() -> None:
    slow, fast = (
        with_finetuning(Recipe(summary="", epochs=1, learning_rate=r)) for r in (0.1, 0.2)
    )
    assert of(Finetune(), context=slow) != of(Finetune(), context=fast)
    assert of(Quantize(), context=slow) == of(Quantize(), context=fast)
    assert of(context=slow) == of(context=fast)


VIEWED = ["prune by views", "train by views"]


@pytest.mark.parametrize(
    ("module", "name", "stale"),
    [
        (fit, "VERSION", ["prune", "train", *VIEWED]),
        (views, "VERSION", VIEWED),
        (convert, "EXPORT_VERSION", ["baseline", "prune", "quantize", "train", *VIEWED]),
        (keys, "FORMAT", ["baseline", "prune", "quantize", "train", *VIEWED]),
    ],
)
def test_raising_a_version_changes_only_the_keys_that_depend_on_it(
    module: Any, name: str, stale: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def every() -> dict[str, str]:
        recipe = Recipe(summary="", epochs=3, learning_rate=0.1)
        trained = CONTEXT.of_training(recipe, WHOLE)
        return {
            "baseline": of(),
            "prune": of(Prune()),
            "quantize": of(Quantize()),
            "train": trained,
            "prune by views": of(Prune(views=4)),
            "train by views": CONTEXT.of_training(dataclasses.replace(recipe, views=4), WHOLE),
        }

    before = every()
    monkeypatch.setattr(module, name, 99)
    after = every()
    assert [name for name in before if before[name] != after[name]] == stale


def test_only_versions_of_libraries_that_a_stage_uses_change_its_key(
    installed: dict[str, str],
) -> None:
    before = {s.name: of(s) for s in (Prune(), Finetune())}
    int4 = of(Quantize(scheme="int4"))
    installed["tensorflow-model-optimization"] = "0.9"
    installed["ai-edge-quantizer"] = "0.11"
    installed["ai-edge-litert"] = "9"
    assert of(Finetune()) == before["finetune"]
    assert of(Prune()) != before["prune"]
    assert of(Quantize(scheme="int4")) != int4
    installed["keras"] = "4"
    assert of(Finetune()) != before["finetune"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"deterministic": True}, {"input_scale": 1 / 255},
        {"data": DataDigests("data", "a", "c")}, {"data": DataDigests("other", "a", "b")},
        {"task": Toy()},
    ],
    ids=lambda change: ", ".join(change),
)  # fmt: skip
def test_seed_data_task_determinism_and_input_scale_change_the_key(change: dict[str, Any]) -> None:
    assert of(Prune(), context=dataclasses.replace(CONTEXT, **change)) != of(Prune())


def test_the_decided_precision_changes_only_keys_of_keras_3_trainings() -> None:
    mixed = dataclasses.replace(CONTEXT, decided={"precision": "bfloat16"})
    recipe = Recipe(summary="", epochs=3, learning_rate=0.1)
    assert of(Finetune(), context=mixed) != of(Finetune())
    assert mixed.of_training(recipe, WHOLE) != CONTEXT.of_training(recipe, WHOLE)
    # tf_keras trains in float32 whatever was decided, and a conversion trains nothing.
    for stages in ((), (Prune(),), (Qat(),), (Quantize(),), (Qat(teacher=("self",), alpha=0.0),)):
        assert of(*stages, context=mixed) == of(*stages)


@pytest.mark.parametrize(
    "stage", [Prune(teacher=("self",)), Qat(alpha=0.5)], ids=["teacher", "alpha"]
)
def test_the_decided_precision_changes_keys_of_tf_keras_trainings_with_teachers(
    stage: Stage,
) -> None:
    mixed = dataclasses.replace(CONTEXT, decided={"precision": "bfloat16"})
    assert of(stage, context=mixed) != of(stage)
    jax = dataclasses.replace(CONTEXT, decided={"backend": "jax"})
    assert of(stage, context=jax) == of(stage)  # tf_keras trains on TensorFlow


def test_the_bfloat16_version_changes_only_the_keys_of_bfloat16_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mixed = dataclasses.replace(CONTEXT, decided={"precision": "bfloat16"})
    before = [of(Finetune(), context=each) for each in (CONTEXT, mixed)]
    monkeypatch.setattr(precision, "VERSION", precision.VERSION + 1)
    after = [of(Finetune(), context=each) for each in (CONTEXT, mixed)]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_the_content_of_a_file_that_an_option_names_changes_the_key(
    tmp_path: Path,
) -> None:
    def key(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        stage = Distill(teacher=(str(tmp_path / name),))
        return of(stage)

    assert key("a.keras", b"1") != key("a.keras", b"2")


class OwnToy(Toy):
    """A user's task that declares no version."""


@dataclass(frozen=True)
class Sized(Toy):
    """A user's task with settings."""

    version: ClassVar[int] = 1
    classes: int = 3
    rates: tuple[float, ...] = (0.1, 0.2)
    recipe: Recipe = field(default_factory=lambda: Recipe(summary="", epochs=1, learning_rate=0.1))
    measured: list[float] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class OwnImages(Images):
    """A user's task with a setting of its own and those of task `images`."""

    version: ClassVar[int] = 1
    size: int = 8


class Plain(Toy):
    """A user's task with attributes of the instance."""

    version: ClassVar[int] = 2

    def __init__(self, **settings: Any) -> None:
        vars(self).update(settings)

    @functools.cached_property
    def computed(self) -> int:
        return 3


def test_two_instances_of_a_task_class_with_other_settings_have_other_keys() -> None:
    def key(task: Toy) -> str:
        return of(Prune(), context=dataclasses.replace(CONTEXT, task=task))

    other_recipe = Recipe(summary="", epochs=2, learning_rate=0.1)
    tasks = [Sized(), Sized(classes=4), Sized(rates=(0.1,)), Sized(recipe=other_recipe)]
    tasks += [Plain(), Plain(classes=4), Plain(classes=[4, Path("a")])]
    assert len({key(task) for task in tasks}) == len(tasks)
    assert len({RunOptions(task=task).data_key() for task in tasks}) == len(tasks)
    assert keys.parts_of(Sized(classes=4))[-1] == {"classes": 4}
    assert keys.parts_of(Sized(recipe=other_recipe))[-1] == {
        "recipe": ["Recipe", {"epochs": 2, "learning_rate": 0.1, "summary": ""}]
    }


def test_settings_that_distinguish_no_task_are_in_no_key() -> None:
    plain = Plain(images=object())
    assert plain.computed == 3
    scaled = Plain().with_input_scale(1.0)
    for task in (Sized(measured=[1.0]), Sized(rates=(0.1, 0.2)), plain, scaled):
        assert keys.parts_of(task) == ["toy", *keys.code_of(type(task))]
    images = Images((8, 8, 3), 1.0, batch_size=8)
    assert keys.parts_of(images) == ["images", 1]
    assert keys.parts_of(OwnImages((8, 8, 3), size=9))[-1] == {"size": 9}


@dataclass(frozen=True, kw_only=True)
class VersionedRound(Round):
    """A plugin's stage that declares its version."""

    version: ClassVar[int] = 3


@pytest.mark.parametrize("maker", [OwnToy, Round], ids=lambda m: m.__name__)
def test_external_code_without_a_version_counts_by_its_source(
    maker: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys.code_of(maker)
    monkeypatch.setattr(keys, "source_digest", lambda cls: f"source of {cls.__name__}")
    assert keys.code_of(maker) == [1, f"source of {maker.__name__}"] != before


@pytest.mark.parametrize(("maker", "version"), [(Toy, 1), (Cifar10, 1), (VersionedRound, 3)])
def test_external_code_with_a_version_counts_by_the_version_alone(
    maker: type, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "source_digest", lambda cls: pytest.fail("the source was read"))
    assert keys.code_of(maker) == [version]


def test_a_key_depends_on_no_measured_column() -> None:
    # A key is made before anything is measured: nothing of a row can be in it.
    parameters = {f.name for f in dataclasses.fields(KeyContext)}
    assert parameters & {f.name for f in dataclasses.fields(Result)} == {"task", "data", "seed"}


def test_a_jax_run_has_its_own_key_without_the_version_of_tensorflow(
    installed: dict[str, str],
) -> None:
    recipe = Recipe(summary="", epochs=3, learning_rate=0.1)
    jax = dataclasses.replace(CONTEXT, decided={"backend": "jax"})
    trained, distilled = jax.of_training(recipe, WHOLE), of(Distill(), context=jax)
    assert trained != CONTEXT.of_training(recipe, WHOLE)
    assert distilled != of(Distill())
    assert of(context=jax) == of()  # nothing is trained
    installed["tensorflow"] = "absent"
    assert (jax.of_training(recipe, WHOLE), of(Distill(), context=jax)) == (trained, distilled)
    installed["keras"] = "3.16.0"
    assert jax.of_training(recipe, WHOLE) != trained
