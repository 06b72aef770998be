"""Decoding an encoding for DECODE gives the stored numbers; damaged encodings are refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from compress.tflite.decode import as_bitmap, as_table, values_of

KERNELS = arrays(np.int8, array_shapes(min_dims=2, max_dims=4, max_side=6))
FEW = arrays(np.int8, array_shapes(min_dims=2, max_dims=4, max_side=6), elements=st.integers(-4, 3))


@given(KERNELS)
def test_decoding_a_bitmap_gives_every_value(values: np.ndarray) -> None:
    form = as_bitmap(values)
    assert np.array_equal(values_of(form.data, form.ancillary, values.shape), values)
    assert form.size_bytes == (values.size + 7) // 8 + 16 + np.count_nonzero(values)


@given(FEW, st.sampled_from(["whole", "first", "last"]))
def test_decoding_a_table_gives_every_value(values: np.ndarray, where: str) -> None:
    axis = {"whole": None, "first": 0, "last": values.ndim - 1}[where]
    form = as_table(values, axis)
    assert form is not None
    assert np.array_equal(values_of(form.data, form.ancillary, values.shape), values)
    assert len(form.data) <= (3 * values.size + 7) // 8  # eight values: three bits


def test_more_than_128_values_have_no_table() -> None:
    values = np.arange(-100, 100, dtype=np.int8).reshape(2, 100)
    assert as_table(values, None) is None
    assert as_table(values, 0) is not None


@pytest.mark.parametrize(
    ("data", "ancillary", "why"),
    [
        (b"\xff", bytes([2, 1, 0, 0, 1]).ljust(16, b"\0"), "8 bits and 0 numbers for 8 weights"),
        (b"", bytes([2, 1, 0, 0, 1]).ljust(16, b"\0"), "0 bits"),
        (b"\xff", bytes([2, 9, 0, 0, 1]).ljust(16, b"\0"), "another release"),
        (b"\xff", bytes([1, 1, 0, 0, 1]).ljust(16, b"\0"), "kind 1"),
        (b"\xff", bytes([0, 1, 0, 0, 1, 0xF1, 2]).ljust(17, b"\0"), "weight 1 of a table of 1"),
        (b"\xff", bytes([0, 1, 0, 0, 1, 0x51, 2]).ljust(18, b"\0"), "tables along axis 5"),
        (b"\xff", bytes([0, 1, 0, 0, 1, 0xF2, 2]).ljust(18, b"\0"), "8 bits for 8 weights of 2"),
        (b"\xff", b"\2\1", "another release"),
    ],
)
def test_damaged_encodings_are_refused(data: bytes, ancillary: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        values_of(data, ancillary, (2, 4))
