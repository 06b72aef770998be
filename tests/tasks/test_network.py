"""A task has networks by name, each with typed options, a builder and recipes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click
import numpy as np
import pytest

from baselines.cifar10.task import Cifar10
from baselines.toy import Residual, Toy
from compress import registry, typed_options
from compress.keras_models.model import KerasModel
from compress.tasks.network import Network
from support.option_ranges import outside
from support.pinned_task import Pinned

NETWORKS = [
    pytest.param(network, id=f"{name} {network.name}")
    for name in ("cifar10", "toy")
    for network in registry.task(name).networks.values()
]


@pytest.mark.parametrize("task", [Cifar10(), Toy()])
def test_networks_are_listed_under_their_names(task: Any) -> None:
    assert all(name == network.name for name, network in task.networks.items())


def test_a_task_without_declared_networks_has_a_baseline_network() -> None:
    task = Pinned()
    ((name, network),) = task.networks.items()
    assert name == "baseline"
    assert network.recipes == task.recipes
    half = network.with_options({"width": 0.5}).build(None, dropout=0.0)
    assert half.get_layer("conv1").filters == 4
    assert half.get_layer("dropout").rate == 0.0


@pytest.mark.parametrize("task", [Cifar10(), Toy()])
def test_the_first_network_has_the_recipes_and_weights_of_the_task(task: Any) -> None:
    first = next(iter(task.networks.values()))
    assert first.recipes == task.recipes
    ours, of_task = first.with_options({"width": 0.5}).build(), task.build(width=0.5)
    assert [v.shape for v in ours.weights] == [v.shape for v in of_task.weights]


@pytest.mark.parametrize("network", NETWORKS)
def test_options_survive_json_and_defaults_give_no_arguments(network: Network) -> None:
    values = json.loads(json.dumps(typed_options.values(network)))
    assert network.with_options(values) == network
    assert network.changed_options() == {}
    assert network.words() == []


@pytest.mark.parametrize("network", NETWORKS)
def test_every_option_has_a_help_text_and_refuses_values_outside_its_range(
    network: Network,
) -> None:
    for field in typed_options.fields(network):
        assert field.metadata["help"].endswith("."), field.name
        for value in outside(field.metadata["kind"]):
            with pytest.raises(ValueError, match=f"{network.name}: option '{field.name}'"):
                network.with_options({field.name: value})


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_a_recipe_and_a_version(network: Network) -> None:
    assert network.recipes
    assert (
        type(network).__module__.startswith("compress.")
        or network.name == "plain"
        or ("version" in vars(type(network)))
    )


def test_an_unknown_option_is_refused_with_a_list_of_options() -> None:
    sentence = "network residual has no option 'width'; options here: filters, blocks."
    with pytest.raises(ValueError, match=sentence):
        Residual().with_options({"width": 0.5})


def test_the_arguments_of_a_network_rebuild_it() -> None:
    network = Residual(filters=(16, 2), blocks=3)
    assert network.words() == ["--filters", "16,2", "--blocks", "3"]
    command = click.Command("residual", params=network.parameters())
    with command.make_context("residual", network.words()) as context:
        assert Residual(**context.params) == network


@pytest.mark.parametrize(
    "value", ["8", "8,4,2", "8,", "8,-4", "8;4", "8,65", "0,4", "8,4.0", [8, True], 8]
)
def test_an_invalid_list_of_whole_numbers_is_refused(value: Any) -> None:
    with pytest.raises(
        ValueError, match="is not 2 whole numbers from 1 to 64 with commas between, such as 1,2"
    ):
        Residual(filters=value)


@pytest.mark.parametrize("value", ["8,4", " 8 , 4", [8, 4], ("8", 4), (8, 4)])
def test_whole_numbers_are_accepted_as_text_and_as_lists(value: Any) -> None:
    assert Residual(filters=value).filters == (8, 4)


def test_a_network_may_depend_on_the_training_images() -> None:
    dark = np.zeros((2, 12, 12, 3), np.uint8)
    assert Residual().build(dark).get_layer("centre").offset == 0
    assert Residual().build(None).get_layer("centre").offset == -0.5


def test_a_field_that_is_not_an_option_is_ignored() -> None:
    network = Toy().networks["baseline"]
    assert network.option_names() == ["width"]
    assert {f.name for f in dataclasses.fields(network)} == {"task", "width"}


def test_networks_of_a_task_build_models_for_its_images_and_classes() -> None:
    for network in Toy().networks.values():
        model = KerasModel(network.build(None))
        assert model.input_shape == (12, 12, 3)
        assert model.classes == 3
