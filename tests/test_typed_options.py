"""Option types that click does not have."""

from __future__ import annotations

import click
import pytest

from compress.pipelines.words import stages_of
from compress.typed_options import MOST, Amount


@pytest.mark.parametrize(
    ("word", "amount"),
    [("65536", 65536), (65536, 65536), ("64KB", 64_000), ("64k", 64_000), ("64 KiB", 65_536), ("1.5M", 1_500_000)],
)  # fmt: skip
def test_an_amount_may_have_a_unit(word: str | int, amount: int) -> None:
    assert Amount().convert(word, None, None) == amount


@pytest.mark.parametrize("word", ["much", "-4", "64XB", "1.5", "0x10", "", "1e6", True, "٤"])
def test_an_invalid_amount_is_refused(word: str | bool) -> None:
    with pytest.raises(click.BadParameter, match="is not an amount such as 65536, 64KB"):
        Amount().convert(word, None, None)


@pytest.mark.parametrize("word", ["0", "0.1B", f"{MOST + 1}", "4000MB"])
def test_an_amount_out_of_range_is_refused(word: str) -> None:
    with pytest.raises(click.BadParameter, match="is not in the range"):
        Amount().convert(word, None, None)


def test_a_stage_does_not_depend_on_the_unit_of_an_amount() -> None:
    (one,), (other,) = (stages_of(f"prune-filters --flash {size}") for size in ("40KB", 40_000))
    assert one == other
    assert one.argv() == ["prune-filters", "--flash", "40000"]
