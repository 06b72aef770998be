"""A setting is a field of a recipe and a value that it may have; everything else is refused in one sentence."""

from __future__ import annotations

import click
import pytest

from compress.training.recipe import Recipe
from compress.training.recipe_settings import RecipeSetting, changed, settable, setting

RECIPE = Recipe(summary="", epochs=1, learning_rate=0.1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mixup=0.2", 0.2),
        ("weight_decay=5e-4", 0.0005),
        ("batch_size=64", 64),
        ("flip=True", True),
        ("optimizer=sgd", "sgd"),
    ],
)
def test_a_word_becomes_a_value_of_the_type_of_its_field(text: str, value: object) -> None:
    name, parsed = setting(text)
    assert (parsed, type(parsed)) == (value, type(value))
    assert getattr(changed(RECIPE, [text]), name) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mixup", "'mixup' is not FIELD=VALUE, such as mixup=0.2."),
        ("mixup=", "mixup is ''; expected a number from 0 to 100."),
        ("mixup=-1", "mixup is -1.0; expected a number from 0 to 100."),
        ("mixup=nan", "mixup is nan; expected a number from 0 to 100."),
        ("flip=maybe", "flip is 'maybe'; expected true or false."),
        ("optimizer=lion", "optimizer is 'lion'; expected 'adam' or 'sgd'."),
        ("batch_size=0", "batch_size is 0; expected a whole number of 1 or more."),
        ("crop=2.5", "crop is '2.5'; expected a whole number from 0 to 1000."),
    ],
)
def test_a_wrong_setting_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        RecipeSetting().convert(text, None, None)
    assert caught.value.message == sentence


def test_an_unknown_field_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"no recipe field 'mixpu'; .*Did you mean 'mixup'"):
        setting("mixpu=0.2")


def test_a_setting_is_normalized_to_one_spelling() -> None:
    spelled = [
        RecipeSetting().convert(t, None, None) for t in ("mixup=.20", "flip=TRUE", "crop=04")
    ]
    assert spelled == ["mixup=0.2", "flip=true", "crop=4"]
    assert [RecipeSetting().convert(t, None, None) for t in spelled] == spelled


def test_a_field_that_is_set_twice_or_is_an_option_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^mixup is set twice; set it once\.$"):
        changed(RECIPE, ["mixup=0.1", "mixup=0.2"])
    with pytest.raises(
        ValueError, match=r"^learning_rate has an option of its own: --learning-rate"
    ):
        changed(RECIPE, ["learning_rate=0.1"], options=["learning_rate"])


def test_the_summary_is_no_setting() -> None:
    assert "summary" not in settable()
    assert {"mixup", "mixup_until", "weight_decay", "label_smoothing"} <= set(settable())
