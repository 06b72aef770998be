"""Properties of the functions that compute metrics from scores."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compress.measurement.scores import (
    LEAST_PROBABILITY,
    cross_entropy,
    is_correct,
    log_of_probabilities,
    log_softmax,
    top1,
)
from compress.tflite.ledger import gzip_bytes

LOGITS = arrays(np.float64, (4, 5), elements=st.floats(-30, 30))
ANY_LABELS = arrays(np.int64, 4, elements=st.integers(0, 4))


@given(LOGITS, ANY_LABELS, st.floats(-1e6, 1e6))
def test_cross_entropy_is_that_of_the_softmax_and_invariant_to_a_shift(
    logits: np.ndarray, labels: np.ndarray, shift: float
) -> None:
    naive = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(naive[np.arange(4), labels]).mean()
    assert cross_entropy(log_softmax(logits), labels) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    shifted = cross_entropy(log_softmax(logits + shift), labels)
    assert shifted == pytest.approx(expected, rel=1e-6, abs=1e-6)
    from_probabilities = cross_entropy(log_of_probabilities(naive), labels)
    assert from_probabilities <= expected + 1e-9
    assert from_probabilities <= -np.log(LEAST_PROBABILITY)


def test_cross_entropy_is_exact_and_finite_for_extreme_scores() -> None:
    assert cross_entropy(log_softmax(np.zeros((2, 10))), np.array([3, 4])) == pytest.approx(
        np.log(10)
    )
    huge = np.array([[1e30, -1e30]], np.float32)
    assert cross_entropy(log_softmax(huge), np.array([0])) == 0
    assert np.isfinite(cross_entropy(log_softmax(huge), np.array([1])))
    never = cross_entropy(log_of_probabilities(np.array([[1.0, 0.0]])), np.array([1]))
    assert never == pytest.approx(7 * np.log(10))
    rounded_up = np.array([[1.0000001, 0.0]], np.float32)  # as a softmax in float32 may give
    assert cross_entropy(log_of_probabilities(rounded_up), np.array([0])) == 0


@given(LOGITS, ANY_LABELS)
def test_top1_is_the_mean_of_is_correct(logits: np.ndarray, labels: np.ndarray) -> None:
    assert top1(logits, labels) == is_correct(logits, labels).sum() / 4
    assert top1(logits, logits.argmax(axis=1)) == 1


def test_the_first_class_is_predicted_among_equal_scores() -> None:
    assert is_correct(np.zeros((2, 3)), np.array([0, 1])).tolist() == [True, False]


@given(st.binary(max_size=300))
def test_gzip_bytes_is_the_length_of_the_gzip_stream_at_level_9(content: bytes) -> None:
    stream = gzip.compress(content, 9, mtime=0)
    assert gzip.decompress(stream) == content
    assert gzip_bytes(content) == len(stream) == gzip_bytes(content)
