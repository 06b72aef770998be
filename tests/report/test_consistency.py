"""Consistency of the validation accuracy and the test accuracy of one model."""

from __future__ import annotations

from compress.report import consistency
from compress.report.references import read_references
from compress.rows.result import Result
from support.report_rows import PUBLISHED, bits, digest, row


def both(right: int, of_test: int) -> list[Result]:
    rows = [row(bits(right, 7500), run=digest("0")), row(bits(of_test), run=digest("0"))]
    return [Result(**{**vars(rows[0]), "measured_on": "validation"}), rows[1]]


def test_the_published_reference_fails_the_check_and_the_difference_is_stated() -> None:
    (line,) = consistency.of_published(read_references([PUBLISHED]), "cifar10")
    assert not line["consistent"]
    assert consistency.sentence(line) == (
        "cnn-118k, published: fails; 92.63 % against 85.43 %, +7.20 (+6.28 to +8.10) points, "
        "14.8 standard errors, p = 2.1e-49."
    )
    assert consistency.of_published(read_references([PUBLISHED]), "another") == []


def test_a_run_measured_on_both_splits_is_checked() -> None:
    (line,) = consistency.of_rows(both(6780, 9000))
    assert line["consistent"]
    assert line["difference"] == 6780 / 7500 - 0.9
    (line,) = consistency.of_rows(both(7200, 9000))
    assert not line["consistent"]
    assert consistency.of_rows(both(7200, 9000)[:1]) == []
