"""Changes of recipe fields as texts, such as `mixup=0.2`: the values of `--set`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import click

from compress.rows.field_check import kinds_of, refusal
from compress.text import no_such
from compress.training.recipe import Recipe

BOOLS = {"true": True, "false": False}


class RecipeSetting(click.ParamType):
    """FIELD=VALUE, where FIELD is a field of a recipe. It stays a text, with one spelling for each value."""

    name = "field=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            field, parsed = setting(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return f"{field}={str(parsed).lower() if isinstance(parsed, bool) else parsed}"


def settable() -> dict[str, Any]:
    """Field -> its annotated type, for each field of a recipe that one word can set."""
    kinds = kinds_of(Recipe)
    return {name: k for name, k in kinds.items() if name != "summary" and _base(k)}


def setting(text: str) -> tuple[str, Any]:
    """The field and its value. ValueError if a recipe has no such field, or the field does not take the value.

    >>> setting("mixup=0.20"), setting("flip=true")
    (('mixup', 0.2), ('flip', True))
    """
    name, equals, word = text.partition("=")
    kinds = settable()
    if not equals:
        raise ValueError(f"{text!r} is not FIELD=VALUE, such as mixup=0.2.")
    if name not in kinds:
        raise ValueError(no_such("recipe field", name, list(kinds)))
    value = _parsed(word, _base(kinds[name]))
    if why := refusal(name, value, kinds[name]):
        raise ValueError(f"{why}.")
    return name, value


def values_of(settings: Sequence[str], options: Collection[str] = ()) -> dict[str, Any]:
    """Field -> value, from these settings.

    Args:
      settings: FIELD=VALUE each.
      options: fields that have an option of their own, and are therefore refused as settings.

    Raises:
      ValueError: a setting is invalid, is given twice, or names a field with an option of its own.
    """
    values: dict[str, Any] = {}
    for text in settings:
        name, value = setting(text)
        if name in options:
            raise ValueError(f"{name} has an option of its own: --{name.replace('_', '-')}.")
        if name in values:
            raise ValueError(f"{name} is set twice; set it once.")
        values[name] = value
    return values


def changed(recipe: Recipe, settings: Sequence[str], options: Collection[str] = ()) -> Recipe:
    """The recipe with these settings applied; see `values_of`."""
    return dataclasses.replace(recipe, **values_of(settings, options))


def check_dropout(recipe: Recipe, own: Recipe) -> None:
    """Raise ValueError if a training of a model that is built already changes the dropout of its own recipe."""
    if recipe.dropout != own.dropout:
        raise ValueError(
            "dropout counts only where a network of the task is trained from scratch, as train and distill do: leave "
            "it out."
        )


def _base(kind: Any) -> Any:
    """The type that a word is parsed to: int, float, bool or str; None for a field that no word can set."""
    if get_origin(kind) is Annotated:
        return _base(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return str
    return kind if kind in (int, float, bool) else None


def _parsed(word: str, base: type) -> Any:
    """The word as a value of a type. If it is not one, the word itself, which the check of the field refuses."""
    if base is bool:
        return BOOLS.get(word.lower(), word)
    try:
        return base(word)
    except ValueError:
        return word
