"""Predictions: a small file for each row, equal bytes for equal content, refused if it does not belong to the row."""

from __future__ import annotations

import dataclasses
import io
import pickle
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compress.measurement import predictions
from compress.measurement.predictions import Predictions
from compress.measurement.scores import is_correct, log_softmax
from compress.rows.result import Result
from support.report_rows import row

N = 10_000


def scores(n: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (n, classes)).astype(np.float32)


def made(n: int = 40, classes: int = 10, seed: int = 0) -> tuple[Predictions, Result]:
    """Predictions with their row; about half of the images are right."""
    given = scores(n, classes, seed)
    best = given.argmax(axis=1)
    labels = np.where(np.arange(n) % 2, best, (best + 1) % classes)
    found = predictions.from_scores(given, log_softmax(given), labels)
    return found, row(is_correct(given, labels), predictions=found.digest)


def written(path: Path, **arrays: np.ndarray) -> Path:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def parts(found: Predictions) -> dict[str, np.ndarray]:
    return {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}


@given(arrays(np.float32, (7, 4), elements=st.floats(-30, 30, width=32)))
def test_predictions_are_the_most_likely_class_and_its_probability(given: np.ndarray) -> None:
    labels = np.arange(7) % 4
    found = predictions.from_scores(given, log_softmax(given), labels)
    assert (found.classes == given.argmax(axis=1)).all()
    assert (found.labels == labels).all()
    softmax = np.exp(given - given.max(1, keepdims=True).astype(np.float64))
    highest = softmax.max(axis=1) / softmax.sum(axis=1)
    np.testing.assert_allclose(found.probabilities.astype(float), highest, rtol=1e-3)


@pytest.mark.parametrize(
    ("classes", "kind"), [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65_537, "uint32")]
)
def test_the_integer_type_is_large_enough_for_every_class(
    classes: int, kind: str, tmp_path: Path
) -> None:
    given = np.zeros((2, classes), np.float32)
    given[0, -1] = 1
    found = predictions.from_scores(given, log_softmax(given), np.array([classes - 1, 0]))
    assert found.classes.tolist() == [classes - 1, 0]
    assert found.classes.dtype == found.labels.dtype == kind
    found.write(tmp_path / "a.npz")
    assert predictions.read(
        tmp_path / "a.npz", row(np.array([True, True]), predictions=found.digest)
    )


def test_predictions_written_beside_the_rows_are_read_back_unchanged(tmp_path: Path) -> None:
    found, of_it = made()
    path = predictions.file_beside(tmp_path / "results.jsonl", of_it)
    assert path == tmp_path / "results.predictions" / f"{found.digest[:16]}.npz"
    found.write(path)
    again = predictions.read(path, of_it)
    for name, array in parts(found).items():
        np.testing.assert_array_equal(getattr(again, name), array)
        assert getattr(again, name).dtype == array.dtype
    assert again.digest == found.digest


def test_a_row_without_a_predictions_digest_has_no_file(tmp_path: Path) -> None:
    assert predictions.file_beside(tmp_path / "results.jsonl", row(np.ones(4, bool))) is None


def test_the_same_predictions_give_the_same_bytes_at_another_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()[0].write(tmp_path / "now.npz")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *when: time.gmtime(2e9))
    made()[0].write(tmp_path / "later.npz")
    assert (tmp_path / "now.npz").read_bytes() == (tmp_path / "later.npz").read_bytes()
    made(seed=1)[0].write(tmp_path / "other.npz")
    assert (tmp_path / "now.npz").read_bytes() != (tmp_path / "other.npz").read_bytes()


def test_the_digest_depends_on_the_content_and_not_on_the_compression(tmp_path: Path) -> None:
    found, of_it = made()
    np.savez(tmp_path / "plain.npz", **parts(found))
    assert predictions.read(tmp_path / "plain.npz", of_it).digest == found.digest
    changed = dataclasses.replace(found, classes=found.classes[::-1].copy())
    assert changed.digest != found.digest


def test_ten_thousand_images_take_less_than_thirty_kilobytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, N)
    given = scores(N, 10) / 3
    given[np.arange(N), labels] += 5  # nine in ten are right, as for the baseline
    found = predictions.from_scores(given, log_softmax(given), labels)
    found.write(tmp_path / "a.npz")
    assert 0.85 < (found.classes == labels).mean() < 0.999
    assert (tmp_path / "a.npz").stat().st_size < 30_000


# Files that are not the row's


def test_a_missing_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    _, of_it = made()
    with pytest.raises(ValueError, match=r"gone\.npz: not the predictions of run .*no such file"):
        predictions.read(tmp_path / "gone.npz", of_it)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    found, of_it = made()
    found.write(tmp_path / "there.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "there.npz")
    with pytest.raises(ValueError, match=r"there is no such file\): delete its run folder"):
        predictions.read(tmp_path / "link.npz", of_it)


def test_the_predictions_of_another_row_are_refused(tmp_path: Path) -> None:
    _, of_it = made()
    made(seed=1)[0].write(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="its content has the digest"):
        predictions.read(tmp_path / "a.npz", of_it)


def test_predictions_of_another_number_of_images_are_refused(tmp_path: Path) -> None:
    found, _ = made(n=41)
    found.write(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="lacks labels, classes, probabilities of 40 images"):
        predictions.read(tmp_path / "a.npz", row(np.ones(40, bool), predictions=found.digest))


def test_a_row_that_marks_other_images_as_right_is_refused(tmp_path: Path) -> None:
    """The row is refused even if it has the same number of correct images."""
    found, of_it = made()
    found.write(tmp_path / "a.npz")
    right = found.labels == found.classes
    lies = row(right[::-1].copy(), predictions=found.digest)
    assert lies.top1 == of_it.top1
    with pytest.raises(ValueError, match="other images as right than the row's 'correct' and top1"):
        predictions.read(tmp_path / "a.npz", lies)


@pytest.mark.parametrize("probability", [-0.5, 1.5, float("nan"), float("inf")])
def test_a_probability_outside_0_to_1_is_refused(probability: float, tmp_path: Path) -> None:
    found, _ = made()
    bad = dataclasses.replace(found, probabilities=np.full(40, probability, np.float16))
    bad.write(tmp_path / "a.npz")
    of_it = row(found.labels == found.classes, predictions=bad.digest)
    with pytest.raises(ValueError, match="probabilities that are not from 0 to 1"):
        predictions.read(tmp_path / "a.npz", of_it)


@pytest.mark.parametrize("name", ["labels", "classes", "probabilities"])
def test_missing_additional_or_wrong_arrays_are_refused(name: str, tmp_path: Path) -> None:
    found, of_it = made()
    array = parts(found)[name]
    for other in (array.astype(np.float64), array.reshape(2, 20), array[:-1], array[:0]):
        path = written(tmp_path / "a.npz", **parts(found) | {name: other})
        with pytest.raises(ValueError, match="it lacks labels, classes, probabilities"):
            predictions.read(path, of_it)
    without = {key: value for key, value in parts(found).items() if key != name}
    for others in (without, parts(found) | {"more": array}):
        with pytest.raises(ValueError, match="it lacks labels, classes, probabilities"):
            predictions.read(written(tmp_path / "a.npz", **others), of_it)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "opened",))

    found, of_it = made()
    trapped = np.empty(40, object)
    trapped[0] = Trap()
    path = written(tmp_path / "a.npz", **parts(found) | {"classes": trapped})
    assert b"opened" in zipfile.ZipFile(path).read("classes.npy")
    with pytest.raises(ValueError, match="it lacks labels, classes, probabilities"):
        predictions.read(path, of_it)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"not a whole \.npz file"):
        predictions.read(path, of_it)
    assert not (tmp_path / "opened").exists()


def test_bytes_behind_the_declared_arrays_are_not_unpacked(tmp_path: Path) -> None:
    """The header declares 40 images; the bytes behind them are not read."""
    found, of_it = made()
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in parts(found).items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array)
            archive.writestr(f"{name}.npy", content.getvalue() + bytes(10**6))
    assert path.stat().st_size < 4096
    assert predictions.read(path, of_it).digest == found.digest


def test_a_file_larger_than_its_images_need_is_not_opened(tmp_path: Path) -> None:
    found, of_it = made()
    found.write(tmp_path / "a.npz")
    with (tmp_path / "a.npz").open("ab") as file:
        file.write(bytes(10_000))
    with pytest.raises(ValueError, match="bytes, more than 40 images take"):
        predictions.read(tmp_path / "a.npz", of_it)


def test_a_truncated_or_changed_file_never_gives_other_predictions(tmp_path: Path) -> None:
    found, of_it = made()
    path = tmp_path / "a.npz"
    found.write(path)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 7):
        for damaged in (whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]):
            path.write_bytes(damaged)
            try:
                assert predictions.read(path, of_it).digest == found.digest
            except ValueError:
                refused += 1
    assert refused > len(whole) / 7
