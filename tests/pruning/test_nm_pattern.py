"""m:n patterns: the m smallest of every n input channels are zero, as in tfmot."""

from __future__ import annotations

import re

import click
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.pruning.nm_pattern import Pattern, broken_groups, pattern_mask, zeros_and_group

PATTERNS = ["2:4", "1:4", "1:2", "5:8"]


@st.composite
def kernels(draw: st.DrawFn) -> tuple[np.ndarray, str]:
    """A kernel [..., i, o] whose input channels form groups, and the pattern."""
    pattern = draw(st.sampled_from(PATTERNS))
    channels = draw(st.integers(1, 3)) * zeros_and_group(pattern)[1]
    window = draw(st.lists(st.integers(1, 3), max_size=2))
    shape = (*window, channels, draw(st.integers(1, 3)))
    return draw(hnp.arrays(np.float32, shape, elements=st.floats(-4, 4, width=16))), pattern


def groups_of(a: np.ndarray, pattern: str) -> list[np.ndarray]:
    """The groups, computed with loops: n consecutive input channels at every other position."""
    _, n = zeros_and_group(pattern)
    flat = a.reshape(-1, *a.shape[-2:])
    return [
        plane[start : start + n, o]
        for plane in flat
        for o in range(a.shape[-1])
        for start in range(0, a.shape[-2], n)
    ]


@given(kernels())
def test_every_group_drops_exactly_its_m_smallest(case: tuple[np.ndarray, str]) -> None:
    w, pattern = case
    zeros, _ = zeros_and_group(pattern)
    mask = pattern_mask(w, pattern)
    for group, kept in zip(groups_of(w, pattern), groups_of(mask, pattern), strict=True):
        assert np.sum(~kept) == zeros
        assert np.abs(group[kept]).min() >= np.abs(group[~kept]).max()


@given(kernels())
def test_broken_groups_counts_the_groups_with_too_few_zeros(case: tuple[np.ndarray, str]) -> None:
    w, pattern = case
    zeros, _ = zeros_and_group(pattern)
    groups = groups_of(w, pattern)
    expected = sum(np.sum(group == 0) < zeros for group in groups)
    assert broken_groups(w, pattern) == (expected, len(groups))
    assert broken_groups(np.where(pattern_mask(w, pattern), w, 0), pattern)[0] == 0


@given(kernels())
def test_applying_the_mask_twice_changes_nothing(case: tuple[np.ndarray, str]) -> None:
    w, pattern = case
    once = np.where(pattern_mask(w, pattern), w, 0)
    np.testing.assert_array_equal(np.where(pattern_mask(once, pattern), once, 0), once)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(3, 3, 8, 5), (16, 6)])
def test_the_mask_equals_the_mask_of_tfmot(pattern: str, shape: tuple[int, ...]) -> None:
    from compress.tfmot import bridge

    bridge.tfmot()
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_utils

    w = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    rows = pruning_utils.weights_rearrange(bridge.tf_keras().backend.constant(w))
    rows = pruning_utils.generate_m_by_n_mask(rows, zeros_and_group(pattern))
    theirs = pruning_utils.m_by_n_sparsity_mask_prepare(
        rows, bridge.tf_keras().backend.constant(w).shape
    )
    np.testing.assert_array_equal(pattern_mask(w, pattern), theirs.numpy() == 1)


@pytest.mark.parametrize(
    ("text", "pattern"), [("2:4", "2:4"), (" 02 : 4", "2:4"), ("1:16", "1:16")]
)
def test_a_pattern_is_converted_to_one_spelling(text: str, pattern: str) -> None:
    assert Pattern().convert(text, None, None) == pattern


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2", "'2' is not a pattern like 2:4, two zeros in every four weights."),
        ("two:four", "'two:four' is not a pattern like 2:4"),
        ("1:2:4", "'1:2:4' is not a pattern like 2:4"),
        ("-1:4", "'-1:4' is not a pattern like 2:4"),
        ("1:99999", "'1:99999' is not a pattern like 2:4"),
        ("4:2", "4:2 is not a pattern m:n with 0 < m < n, such as 2:4."),
        ("4:4", "4:4 is not a pattern m:n with 0 < m < n"),
        ("0:4", "0:4 is not a pattern m:n with 0 < m < n"),
    ],
)
def test_an_invalid_pattern_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(click.BadParameter, match=re.escape(sentence)):
        Pattern().convert(text, None, None)
