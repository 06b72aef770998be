"""The contract of every registered stage, built in or plugged in: see docs/adding-a-stage.md."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from compress import registry
from compress.cli.main import cli
from compress.keras_models.model import KerasModel
from compress.stage import Stage
from compress.tasks.view import TaskView
from compress.tflite.model import TFLiteModel
from support.option_ranges import outside

DOCS = Path(__file__).parent.parent / "docs" / "stages"
PLUGGED_IN = {"round"}
NAMES = registry.stage_names()
every_stage = pytest.mark.parametrize("name", NAMES)


def quick(name: str) -> Stage:
    """The stage with default options, except one epoch at a given learning rate."""
    cls = registry.stage(name)
    options = {f.name for f in dataclasses.fields(cls)}
    brief = {"epochs": 1, "learning_rate": 0.01}
    return cls(**{option: value for option, value in brief.items() if option in options})


def given(name: str, model: KerasModel, view: TaskView) -> KerasModel | TFLiteModel:
    """The model in the format that the stage takes."""
    if registry.stage(name).takes == KerasModel.format:
        return model
    return model.to_tflite("int8", view.train.images[:20] * np.float32(1 / 255))


def refusals() -> list[tuple[str, str, Any]]:
    return [
        (name, field.name, value)
        for name in NAMES
        for field in dataclasses.fields(registry.stage(name))
        for value in outside(field.metadata["kind"])
    ]


def test_the_plugin_is_registered_like_a_built_in_stage() -> None:
    assert set(NAMES) > PLUGGED_IN


@every_stage
def test_spec_survives_json(name: str) -> None:
    stage = quick(name)
    assert registry.build(json.loads(json.dumps(stage.spec()))) == stage


@every_stage
def test_repr_rebuilds_the_stage(name: str) -> None:
    stage = quick(name)
    assert eval(repr(stage), {type(stage).__name__: type(stage)}) == stage


@every_stage
def test_argv_rebuilds_the_stage(name: str) -> None:
    stage = quick(name)
    cls = type(stage)
    command = click.Command(name, params=cls.parameters(), callback=lambda **o: cls(**o))
    assert command.main(stage.argv()[1:], standalone_mode=False) == stage


@every_stage
def test_a_stage_is_frozen(name: str) -> None:
    stage = quick(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stage.anything = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "option", "value"), refusals())
def test_an_option_outside_its_range_is_refused_and_named(
    name: str, option: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=f"{name}: option '{option}'"):
        registry.stage(name)(**{option: value})
    words = ["run", name, f"--{option.replace('_', '-')}", str(value)]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2
    assert option.replace("_", "-") in result.output or option in result.output


@every_stage
def test_whole_number_options_have_a_minimum_and_a_maximum(name: str) -> None:
    kinds = {f.name: f.metadata["kind"] for f in dataclasses.fields(registry.stage(name))}
    whole = {option: k for option, k in kinds.items() if isinstance(k, click.types.IntParamType)}
    for option, kind in whole.items():
        assert isinstance(kind, click.IntRange), option
        assert None not in (kind.min, kind.max), option
        assert kind.max < 2**31, option


@every_stage
@pytest.mark.usefixtures("no_training_undone")
def test_apply_is_deterministic_and_does_not_change_the_incoming_model(
    name: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    before = [w.copy() for w in toy_model.keras.get_weights()]
    incoming = given(name, toy_model, toy_view)
    digest = incoming.digest
    one, other = (quick(name).apply(incoming, toy_view, seed=5) for _ in range(2))
    assert one.digest == other.digest
    assert incoming.digest == digest
    for old, new in zip(before, toy_model.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert one.format == quick(name).gives
    if isinstance(one, KerasModel):
        scores = one.keras.predict(toy_view.validation.images[:5] / 255.0, verbose=0)
        assert scores.shape == (5, 3)
        assert np.isfinite(scores).all()


# The results of other stages are files, which the pipeline checks, or networks with other kernels.
KEEPING = [
    name
    for name in NAMES
    if registry.stage(name).gives == KerasModel.format and registry.stage(name).keeps_architecture
]


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.usefixtures("no_training_undone")
def test_zeros_of_the_incoming_model_are_kept(
    name: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    holed = toy_model.copy()
    rng = np.random.default_rng(0)
    for variable in holed.kernel_variables().values():
        variable.assign(np.array(variable) * (rng.random(variable.shape) < 0.3))
    incoming = holed.kernels()
    result = quick(name).apply(given(name, holed, toy_view), toy_view, seed=0)
    assert isinstance(result, KerasModel)
    assert result.kernels().keys() == incoming.keys()
    for layer, kernel in result.kernels().items():
        assert not kernel[incoming[layer] == 0].any(), layer


@every_stage
def test_a_stage_is_documented(name: str) -> None:
    cls = registry.stage(name)
    assert (cls.__doc__ or "").strip()
    for field in dataclasses.fields(cls):
        assert field.metadata["help"].endswith("."), field.name
    if name in PLUGGED_IN:
        return
    page = (DOCS / f"{name}.md").read_text()
    for field in dataclasses.fields(cls):
        assert f"--{field.name.replace('_', '-')}" in page, field.name


@pytest.mark.parametrize(
    "words", [[], ["run"], ["train"], ["prune"], ["report"], ["runs"], ["run", "prune"]]
)
def test_help_imports_no_heavy_library(words: list[str]) -> None:
    code = (
        "import sys; from compress.cli.main import cli\n"
        f"cli({[*words, '--help']!r}, standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'tf_keras', 'pandas', 'matplotlib', 'altair'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
