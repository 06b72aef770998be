"""Calibration: examples from the literature, numbers worked out by hand, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.statistics.calibration import expected_error, reliability

SAID = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=50)


def test_calibration_error_matches_the_example_of_pavlovic() -> None:
    # Pavlovic 2025, Understanding Model Calibration (https://arxiv.org/abs/2501.19047): nine samples, five bins.
    given = np.array([0.78, 0.64, 0.92, 0.58, 0.51, 0.85, 0.70, 0.63, 0.83])
    right = np.array([1, 1, 0, 1, 0, 1, 1, 0, 1], bool)
    assert expected_error(reliability(right, given, bins=5)) == pytest.approx(0.10444, abs=5e-6)


def test_calibration_error_matches_the_example_of_torchmetrics() -> None:
    # The documentation of torchmetrics, BinaryCalibrationError, n_bins=2, norm='l1': 0.2900.
    given = np.array([0.25, 0.25, 0.55, 0.75, 0.75])
    right = np.array([0, 0, 1, 1, 1], bool)
    assert expected_error(reliability(right, given, bins=2)) == pytest.approx(0.29)


def test_a_reliability_curve_matches_values_worked_out_by_hand() -> None:
    # The border 0.5 belongs to the lower of two bins, 0 to the first.
    right = np.array([True, False, True, True])
    low, high = reliability(right, np.array([0.0, 0.5, 0.6, 1.0]), bins=2)
    assert (low.upto, low.images, low.confidence, low.accuracy) == (0.5, 2, 0.25, 0.5)
    assert (high.upto, high.images, high.confidence, high.accuracy) == (1.0, 2, 0.8, 1.0)


def test_a_calibrated_model_has_no_calibration_error() -> None:
    right = np.repeat([True, False], [9, 1])
    assert expected_error(reliability(right, np.full(10, 0.9))) == pytest.approx(0)
    assert expected_error(reliability(right, np.full(10, 1.0))) == pytest.approx(0.1)


@settings(derandomize=True, deadline=None)
@given(SAID)
def test_bins_count_every_image_and_the_error_is_at_least_the_overall_gap(
    said: list[tuple[bool, float]],
) -> None:
    right, given = (np.array(each) for each in zip(*said, strict=True))
    curve = reliability(right, given)
    assert sum(each.images for each in curve) == len(said)
    gap = abs(given.mean() - right.mean())
    assert gap - 1e-9 <= expected_error(curve) <= 1
    assert all(each.upto - 1 / 15 - 1e-9 <= each.confidence <= each.upto + 1e-9 for each in curve)
