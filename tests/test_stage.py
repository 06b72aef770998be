"""An option is declared once; flag, check, spec and argv derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import click
import pytest

from compress.stage import Stage, option


@dataclass(frozen=True, kw_only=True)
class Shrink(Stage):
    """Shrink it."""

    name: ClassVar = "shrink"
    share: float = option(0.5, click.FloatRange(0, 1, max_open=True), "How much.")
    rounds: int = option(1, click.IntRange(1), "How often.")
    kind: str | None = option(None, click.Choice(["a", "b"]), "Which way.")
    skip: tuple[str, ...] = option((), str, "Layers to leave.")
    gentle: bool = option(False, bool, "With care.")

    def apply(self, model: Any, task: Any, seed: int) -> Any:
        return model


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"share": 1.0}, "shrink: option 'share': 1.0 is not in the range 0<=x<1."),
        ({"share": "abc"}, "shrink: option 'share': 'abc' is not a valid float range."),
        ({"share": float("nan")}, "shrink: option 'share': nan is not a finite number."),
        ({"share": 10**400}, f"shrink: option 'share': 1{'0' * 99} is not a valid float range."),
        (
            {"share": 16**9999},
            "shrink: option 'share': a number of so many digits is not a valid float range.",
        ),
        ({"share": [0.5]}, "shrink: option 'share': [0.5] is not a valid float range."),
        ({"share": {"a": 1}}, "shrink: option 'share': {'a': 1} is not a value."),
        ({"rounds": float("inf")}, "shrink: option 'rounds': inf is not a valid integer range."),
        ({"rounds": 2.7}, "shrink: option 'rounds': 2.7 is not a valid integer range."),
        ({"rounds": True}, "shrink: option 'rounds': True is not a valid integer range."),
        ({"share": False}, "shrink: option 'share': False is not a valid float range."),
        ({"gentle": 1}, "shrink: option 'gentle': 1 is not a valid boolean."),
        ({"rounds": 0}, "shrink: option 'rounds': 0 is not in the range x>=1."),
        ({"kind": "c"}, "shrink: option 'kind': 'c' is not one of 'a', 'b'."),
        (
            {"skip": "conv"},
            "shrink: option 'skip': 'conv' is not a list; give one, as in ['conv'].",
        ),
        ({"skip": 3}, "shrink: option 'skip': 3 is not a list; give one, as in [3]."),
    ],
)
def test_bad_option_is_refused_in_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is compared below
        Shrink(**options)
    assert str(caught.value) == sentence


def test_option_is_converted_to_its_type() -> None:
    assert isinstance(Shrink(share=0).share, float)
    assert Shrink(skip=["a", "b"]).skip == ("a", "b")  # type: ignore[arg-type]


def test_argv_holds_the_first_option_and_options_that_are_not_default() -> None:
    assert Shrink().argv() == ["shrink", "--share", "0.5"]
    assert Shrink(rounds=2, skip=("x", "y"), gentle=True, kind="a").argv() == [
        *["shrink", "--share", "0.5", "--rounds", "2", "--kind", "a"],
        *["--skip", "x", "--skip", "y", "--gentle"],
    ]


@pytest.mark.parametrize(
    "stage", [Shrink(), Shrink(share=0.1, rounds=3, kind="b", skip=("x", "y"), gentle=True)]
)
def test_argv_parses_to_the_same_stage(stage: Shrink) -> None:
    command = click.Command("shrink", params=Shrink.parameters(), callback=lambda **o: Shrink(**o))
    assert command.main(stage.argv()[1:], standalone_mode=False) == stage


def test_spec_holds_every_option() -> None:
    assert Shrink(skip=("x",)).spec() == {
        **{"stage": "shrink", "share": 0.5, "rounds": 1, "kind": None},
        **{"skip": ["x"], "gentle": False},
    }


def test_help_of_a_flag_is_the_declared_sentence() -> None:
    helps = {p.name: p.help for p in Shrink.parameters() if isinstance(p, click.Option)}
    assert helps["share"] == "How much."
    assert helps["skip"] == "Layers to leave. May be repeated."
