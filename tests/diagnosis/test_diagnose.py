"""The doctor reports the findings of the stages' checks and writes only models that compute the same function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner, Result

from baselines.toy import Toy
from compress import backend, registry
from compress.cli.main import cli
from compress.diagnosis import diagnose, repair
from compress.diagnosis.asked_task import view_without_data
from compress.findings import CannotTreat, Finding, as_findings
from compress.keras_models import rebuild
from compress.keras_models.model import KerasModel
from compress.model_files.load import load_model
from compress.stage import Stage
from compress.stages.prune import Prune
from support.model_zoo import IMAGE, images, nested, outputs, randomised, residual

BASELINE = str(Toy().baseline_path())


class Says(Stage):
    """A stage whose check gives fixed findings."""

    name: ClassVar = "says"
    notes: ClassVar[list[Finding | str]] = []
    refusal: ClassVar[Finding | None] = None

    def apply(self, model: Any, task: Any, seed: int) -> Any:
        raise NotImplementedError

    def check(self, model: KerasModel) -> list[Finding | str]:
        if self.refusal:
            raise CannotTreat(self.refusal)
        return self.notes


@dataclass(frozen=True, kw_only=True)
class Garbled(Stage):
    """A stage that gives the findings of another stage with unreadable words."""

    name: ClassVar = "garbled"
    of: Stage

    def __post_init__(self) -> None:
        """It has no options to check."""

    def apply(self, model: Any, task: Any, seed: int) -> Any:
        raise NotImplementedError

    def check(self, model: KerasModel) -> list[Finding]:
        try:
            return [self._garbled(finding) for finding in as_findings(self.of.check(model))]
        except CannotTreat as error:
            raise CannotTreat(*map(self._garbled, error.findings), stage=error.stage) from None

    def _garbled(self, finding: Finding) -> Finding:
        words = " ".join((finding.subject, finding.reason, finding.remedy))
        return Finding(finding.layers, sha256(words.encode()).hexdigest(), subject="#")


class Calls:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.count = function, 0

    def __call__(self, *values: Any) -> Any:
        self.count += 1
        return self.function(*values)

    def method(self) -> Callable[..., Any]:
        return lambda *values: self(*values)


def asked(*words: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *words])


def augmented(name: str = "model.keras") -> str:
    """The path of a model that has no Keras 2 twin until its RandomFlip is removed."""
    k = backend.keras().layers
    stack = [k.Input(IMAGE), k.RandomFlip(name="flip"), k.Conv2D(4, 3, name="conv")]
    stack += [k.GlobalAveragePooling2D(), k.Dense(3, name="scores")]
    randomised(backend.keras().Sequential(stack)).save(name)
    return name


def test_every_installed_stage_is_checked_if_none_is_named() -> None:
    said = asked(BASELINE, "--json", "--task", "toy")
    assert said.exit_code == 0, said.output
    diagnoses = json.loads(said.stdout)["stages"]
    takes_keras = [n for n in registry.stage_names() if registry.stage(n).takes == "keras"]
    assert [d["stage"].split()[0] for d in diagnoses] == takes_keras
    assert all(d["can_work"] for d in diagnoses)


def test_options_are_accepted_before_and_after_the_file() -> None:
    first, last = asked("--json", BASELINE, "prune"), asked(BASELINE, "--json", "prune")
    assert first.exit_code == last.exit_code == 0
    assert json.loads(first.stdout) == json.loads(last.stdout)


def test_doctor_reports_the_findings_of_the_stage_with_its_options() -> None:
    said = json.loads(asked(BASELINE, "--json", "prune", "--pattern", "2:4").stdout)
    (diagnosis,) = said["stages"]
    model = load_model(Path(BASELINE))
    assert isinstance(model, KerasModel)
    stage = registry.stage("prune")(pattern="2:4")
    findings = as_findings(stage.check(model))
    assert findings
    assert [f["why"] for f in diagnosis["findings"]] == [f.sentence("prune") for f in findings]
    assert [f["layers"] for f in diagnosis["findings"]] == [list(f.layers) for f in findings]
    assert diagnosis["verdict"] == "in part"
    assert diagnosis["findings"][0]["layers"] == ["conv1"]
    assert set(diagnosis["untouched"]) == {"conv2", "logits"}


def test_a_stage_that_cannot_work_gives_exit_code_1_and_names_the_rewrite_that_helps() -> None:
    path = augmented()
    said = asked(path, "quantize", "prune")
    assert said.exit_code == 1
    assert "layer 'flip' (RandomFlip) cannot be trained through tf_keras" in said.stdout
    assert "--fix does it: flip: left out" in said.stdout
    assert asked(path, "quantize").exit_code == 0


def test_fix_writes_the_rewritten_model_and_its_largest_difference(tmp_path: Path) -> None:
    path = augmented()
    said = asked(path, "--fix", "better.keras", "--json", "prune")
    assert said.exit_code == 0, said.output
    record = json.loads(said.stdout)
    assert record["stages"][0]["verdict"] == "yes"
    proof = record["fixed"]["proof"]
    assert proof["images"] == "256 random images of numbers from 0 to 1"
    assert proof["largest_difference"] <= proof["allowed"]
    old, new = (load_model(Path(p)).keras for p in (path, "better.keras"))  # type: ignore[union-attr]
    np.testing.assert_allclose(outputs(new, images()), outputs(old, images()), atol=1e-5)
    assert asked("better.keras", "prune").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["better.keras", "model.keras"]


def test_fix_writes_a_nested_model_flattened() -> None:
    nested().save("nested.keras")
    said = asked("nested.keras", "--fix", "flat.keras", "--task", "toy", "finetune")
    assert said.exit_code == 0, said.output
    assert "'backbone' is a model inside the model" in said.stdout
    assert "150 validation images of toy" in said.stdout
    flat = load_model(Path("flat.keras"))
    assert isinstance(flat, KerasModel)
    assert {"conv", "backbone_block_conv"} <= {layer.name for layer in flat.keras.layers}


def test_fix_writes_nothing_if_the_function_would_change(monkeypatch: pytest.MonkeyPatch) -> None:
    real = rebuild.rebuilt

    def wrong(model: Any, instead: Any) -> Any:
        result = real(model, instead)
        result.get_layer("scores").bias.assign_add([0.01, 0.0, 0.0])
        return result

    path = augmented()
    monkeypatch.setattr(rebuild, "rebuilt", wrong)
    said = asked(path, "--fix", "better.keras", "prune")
    assert said.exit_code == 1
    assert "is not the same function: the largest difference" in said.stderr
    assert not Path("better.keras").exists()


def test_fix_writes_nothing_if_no_rewrite_helps() -> None:
    said = asked(BASELINE, "--fix", "better.keras", "prune")
    assert said.exit_code == 0
    assert "No rewrite would help: nothing is written." in said.stdout
    assert not Path("better.keras").exists()


def test_a_model_that_does_not_fit_the_named_task_is_refused_as_in_run() -> None:
    k = backend.keras().layers
    stack = [k.Input((8, 8, 1)), k.Rescaling(1 / 255), k.RandomFlip(), k.Flatten(), k.Dense(3)]
    randomised(backend.keras().Sequential(stack)).save("grey.keras")
    said = asked("grey.keras", "--fix", "out.keras", "--task", "toy", "prune")
    assert said.exit_code == 1
    assert (
        "model grey.keras takes 8x8x1 images and gives 3 classes; task toy has 12x12x3 and 3"
        in said.stderr
    )
    assert not Path("out.keras").exists()
    said = asked("grey.keras", "--fix", "out.keras", "prune")
    assert said.exit_code == 0, said.output
    assert "256 random images of numbers from 0 to 255" in said.stdout
    assert "Checked for --task images." in said.stdout


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["gone.keras"], 1, "no file gone.keras"),
        ([], 2, "Missing argument 'FILE'"),
        ([BASELINE, "prun"], 2, "Did you mean 'prune'?"),
        ([BASELINE, "--fix"], 2, "requires an argument"),
        ([BASELINE, "--fix", "out.h5", "prune"], 1, "--fix writes a .keras file"),
        ([BASELINE, "--fix", "no/out.keras", "prune"], 1, "no folder no for --fix"),
        (["gone.keras", "--task", "toys"], 2, "no task 'toys'"),
        ([BASELINE, "--data", "x", "prune"], 2, "--data goes with --task: name the task"),
        ([BASELINE, "prune", "--skip", "conv9"], 1, ""),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(
    words: list[str], code: int, sentence: str
) -> None:
    said = asked(*words)
    assert said.exit_code == code, said.output
    assert sentence in said.stderr
    assert "Traceback" not in said.output


def test_a_tflite_file_is_refused() -> None:
    model = load_model(Path(BASELINE))
    assert isinstance(model, KerasModel)
    model.to_tflite().save(Path("m.tflite"))
    assert "m.tflite is a .tflite file; stages start from" in asked("m.tflite").stderr


@pytest.mark.parametrize("batch_shape", [(8, 6, 6, 3), (None, None, None, 3), (None, None, 3)])
def test_an_input_shape_that_run_refuses_is_refused(batch_shape: tuple[int | None, ...]) -> None:
    k = backend.keras().layers
    image = k.Input(batch_shape=batch_shape)
    pooled = (k.GlobalMaxPooling2D if len(batch_shape) == 4 else k.GlobalMaxPooling1D)()(image)
    backend.keras().Model(image, k.Dense(3)(pooled)).save("odd.keras")
    said = asked("odd.keras", "quantize")
    assert said.exit_code == 1
    assert f"odd.keras takes {list(batch_shape)} and gives [{batch_shape[0]}, 3]" in said.stderr
    assert "expected [None, height, width, channels], images of fixed size" in said.stderr


def test_outputs_that_are_not_scores_are_refused() -> None:
    k = backend.keras().layers
    backend.keras().Sequential([k.Input(IMAGE), k.Conv2D(3, 3)]).save("map.keras")
    assert "and gives [None, 10, 10, 3]; expected" in asked("map.keras", "quantize").stderr


def test_code_in_the_file_is_run_only_if_trusted() -> None:
    k = backend.keras().layers
    stack = [k.Input(IMAGE), k.Lambda(lambda x: x * 2), k.Flatten(), k.Dense(3)]
    backend.keras().Sequential(stack).save("code.keras")
    refused = asked("code.keras", "quantize")
    assert refused.exit_code == 1
    assert "add --trust" in refused.stderr
    assert asked("code.keras", "--trust", "quantize").exit_code == 0
    assert CliRunner().invoke(cli, ["inspect", "code.keras", "--trust"]).exit_code == 0


def small() -> KerasModel:
    """A model in which stages find something: names, a normalization far from its kernel, augmentation."""
    k = backend.keras().layers
    stack = [
        k.Input(IMAGE),
        k.RandomFlip(name="flip"),
        k.Conv2D(4, 3, activation="relu", name="_ab"),
    ]
    stack += [
        k.BatchNormalization(name="norm"),
        k.DepthwiseConv2D(3, name="deep"),
        k.PReLU(name="slopes"),
    ]
    stack += [k.GlobalAveragePooling2D(), k.Dense(3, name="scores")]
    return KerasModel(randomised(backend.keras().Sequential(stack)))


MODELS: dict[str, Callable[[], KerasModel]] = {
    "small": small,
    "baseline": lambda: KerasModel(load_model(Path(BASELINE)).keras),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("model", MODELS)
def test_verdicts_and_rewrites_do_not_depend_on_the_words_of_findings(model: str) -> None:
    patient = MODELS[model]()
    stages = [registry.stage(name)() for name in registry.stage_names()]
    stages = [stage for stage in stages if stage.takes == "keras"]
    stages += [registry.stage("prune")(pattern="2:4"), registry.stage("quantize")(scheme="int4")]
    garbled = [Garbled(of=stage) for stage in stages]
    task = view_without_data(patient, Toy())
    plain, unreadable = (diagnose.examined(patient, each, task) for each in (stages, garbled))
    assert {diagnosis.verdict for diagnosis in plain} - {"yes"}
    for before, after in zip(plain, unreadable, strict=True):
        assert after.verdict == before.verdict, before.stage
        assert after.untouched == before.untouched
        assert [f.layers for f in after.findings] == [f.layers for f in before.findings]
        assert [bool(f.rewrite) for f in after.findings] == [
            bool(f.rewrite) for f in before.findings
        ]
        assert {f.why for f in after.findings}.isdisjoint(f.why for f in before.findings)
    done, done_unread = (repair.fixed(patient, each, task)[1] for each in (stages, garbled))
    assert [rewrite.what for rewrite in done_unread] == [rewrite.what for rewrite in done]


def test_a_plain_string_note_is_reported_unchanged_and_names_no_layer() -> None:
    class Notes(Says):
        notes: ClassVar = ["says: 'stem' left dense: why."]

    (diagnosis,) = diagnose.examined(KerasModel(residual()), [Notes()])
    assert diagnosis.verdict == "in part"
    assert diagnosis.findings == [diagnose.Advice([], "says: 'stem' left dense: why.", "")]
    assert "stem" in diagnosis.untouched


def test_a_refusal_by_a_plain_error_is_reported_unchanged() -> None:
    class Refuses(Says):
        def check(self, model: KerasModel) -> list[str]:
            raise ValueError("says: no 'stem'.")

    (diagnosis,) = diagnose.examined(KerasModel(residual()), [Refuses()])
    assert diagnosis.verdict == "no"
    assert diagnosis.findings == [diagnose.Advice([], "says: no 'stem'.", "")]


def test_a_finding_that_no_rewrite_solves_is_explained() -> None:
    k = backend.keras().layers
    stack = [k.Input(IMAGE), k.Conv2D(2, 3), k.PReLU(name="slopes"), k.Flatten(), k.Dense(3)]
    model = KerasModel(backend.keras().Sequential(stack))

    class Refuses(Says):
        refusal = Finding(("slopes",), "is not known")

    (diagnosis,) = diagnose.examined(model, [Refuses()])
    assert diagnosis.verdict == "no"
    assert diagnosis.untouched == []
    assert "train with ReLU or LeakyReLU" in diagnosis.findings[0].rewrite


def test_findings_that_remain_after_the_rewrites_are_reported() -> None:
    class Refuses(Says):
        def check(self, model: KerasModel) -> list[str]:
            names = [layer.name for layer in model.keras.layers]
            layer = "flip" if "flip" in names else "conv"
            raise CannotTreat(Finding((layer,), "is not known"), stage="says")

    model = load_model(Path(augmented()))
    assert isinstance(model, KerasModel)
    (diagnosis,) = diagnose.examined(model, [Refuses()])
    assert diagnosis.verdict == "no"
    assert "flip: left out" in diagnosis.findings[0].rewrite
    assert diagnosis.findings[0].rewrite.endswith(
        "It still refuses the model: says: conv is not known."
    )


def test_a_rewrite_that_removes_no_finding_is_not_applied() -> None:
    class Notes(Says):
        notes: ClassVar = [Finding(("stem",), "left dense: for ever")]

    model = KerasModel(residual())
    after, done = repair.fixed(model, [Notes()])
    assert done == []
    assert after is model


def test_a_rewrite_that_another_stage_would_refuse_is_not_applied() -> None:
    class NeedsTheFlip(Says):
        def check(self, model: KerasModel) -> list[str]:
            if not any(layer.name == "flip" for layer in model.keras.layers):
                raise ValueError("no flip.")
            return []

    model = load_model(Path(augmented()))
    assert isinstance(model, KerasModel)
    prune = registry.stage("prune")()
    assert len(repair.fixed(model, [prune])[1]) == 1
    assert repair.fixed(model, [prune, NeedsTheFlip()])[1] == []


def test_distill_is_refused_for_a_task_without_a_network() -> None:
    k = backend.keras().layers
    randomised(backend.keras().Sequential([k.Input((8, 8, 1)), k.Flatten(), k.Dense(3)])).save(
        "grey.keras"
    )
    said = asked("grey.keras", "distill")
    assert said.exit_code == 1
    assert (
        "task images has no architecture to build: name the model file of a student" in said.stdout
    )
    (diagnosis,) = diagnose.examined(load_model(Path(BASELINE)), [registry.stage("distill")()])  # type: ignore[arg-type]
    assert diagnosis.verdict == "no"


def test_a_layer_name_that_tensorflow_refuses_is_reported_for_every_stage_and_fixed() -> None:
    k = backend.keras().layers
    stack = [
        k.Input(IMAGE, name="image"),
        k.Flatten(),
        k.Dense(4, name="a b"),
        k.Dense(3, name="c d"),
    ]
    randomised(backend.keras().Sequential(stack, name="model")).save("spaced.keras")
    said = asked("spaced.keras", "quantize", "finetune", "--json")
    assert said.exit_code == 1
    for opinion in json.loads(said.stdout)["stages"]:
        (finding,) = opinion["findings"]
        assert finding["layers"] == ["a b", "c d"]
        assert "has a name that TensorFlow does not take" in finding["why"]
        assert "--fix does it: a b: called a_b" in finding["rewrite"]
    run = CliRunner().invoke(cli, ["run", "--task", "toy", "--model", "spaced.keras", "quantize"])
    assert finding["why"] in run.stderr
    assert "`compress doctor FILE --fix NEW.keras` does it" in run.stderr
    assert asked("spaced.keras", "--fix", "new.keras", "--task", "toy", "quantize").exit_code == 0


def test_run_refuses_with_the_sentence_and_the_rewrite_of_the_doctor() -> None:
    path = augmented()
    (opinion,) = json.loads(asked(path, "prune", "--json").stdout)["stages"]
    (finding,) = opinion["findings"]
    run = CliRunner().invoke(cli, ["run", "--task", "toy", "--model", path, "prune"])
    assert run.exit_code == 1
    cure = finding["rewrite"].replace("--fix", "`compress doctor FILE --fix NEW.keras`")
    assert f"{finding['why']} {cure}" in run.stderr


def norms_after_activations(blocks: int) -> KerasModel:
    """A model in which a picky stage finds something in every block."""
    k = backend.keras().layers
    stack = [k.Input(IMAGE)]
    for number in range(blocks):
        stack += [k.Conv2D(4, 3, padding="same", activation="relu", name=f"conv{number}")]
        stack += [k.GaussianNoise(0.1, name=f"noise{number}")]
    return KerasModel(backend.keras().Sequential([*stack, k.Flatten(), k.Dense(3, name="scores")]))


def test_no_rewrite_is_tried_for_a_finding_about_a_whole_kind_of_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies = Calls(rebuild.rebuilt)
    monkeypatch.setattr(rebuild, "rebuilt", copies)
    k = backend.keras().layers
    stack = [k.Input(IMAGE), k.DepthwiseConv2D(3, name="deep"), k.BatchNormalization()]
    model = backend.keras().Sequential([*stack, k.Flatten(), k.Dense(3, name="scores")])
    (diagnosis,) = diagnose.examined(KerasModel(model), [Prune()])
    assert diagnosis.verdict == "in part"
    assert diagnosis.findings[0].layers == ["deep"]
    assert copies.count == 0


def test_the_work_does_not_grow_with_the_number_of_similar_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = []
    for blocks in (2, 9):
        checks, copies = Calls(Prune.check), Calls(rebuild.rebuilt)
        monkeypatch.setattr(Prune, "check", checks.method())
        monkeypatch.setattr(rebuild, "rebuilt", copies)
        (diagnosis,) = diagnose.examined(norms_after_activations(blocks), [Prune()])
        assert len(diagnosis.findings) == 1
        assert len(diagnosis.findings[0].layers) == blocks
        counts.append((checks.count, copies.count))
        monkeypatch.undo()
    assert counts[0] == counts[1] == (2, 1)


def test_a_model_at_chance_level_on_validation_images_gives_a_note() -> None:
    k = backend.keras().layers
    stack = [k.Input(IMAGE), k.Flatten(), k.Dense(3, kernel_initializer="zeros")]
    backend.keras().Sequential(stack).save("blank.keras")
    notes = json.loads(asked("blank.keras", "--task", "toy", "--json", "finetune").stdout)["notes"]
    assert any("chance level: top-1 33.33% of 150 validation images" in note for note in notes)
    trained = json.loads(asked(BASELINE, "--task", "toy", "--json", "finetune").stdout)
    assert trained["notes"] == []
