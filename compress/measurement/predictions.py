"""Predictions of a model for every image, saved in a small file beside the rows; the row has its digest."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.data import npz
from compress.files import write_bytes
from compress.rows.bits import unpack_bits

if TYPE_CHECKING:
    from compress.rows.result import Result

_ARRAYS = ("labels", "classes", "probabilities")
_WHOLE = tuple(map(np.dtype, ("<u1", "<u2", "<u4")))
# The most bytes that an image takes, not packed, and the most bytes that the `.npz` format adds.
_MOST_PER_IMAGE, _MOST_BESIDES = 10, 4096


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a model for n images, in the order of their split.

    Labels are saved too, so that the file alone tells which predictions are right and which classes are confused.
    """

    labels: np.ndarray  # uint8 [n]; uint16 if there are more than 256 classes
    classes: np.ndarray  # dtype of `labels` [n]: the most likely class
    probabilities: np.ndarray  # float16 [n]: of that class

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the three arrays; it does not depend on how a file packs them."""
        sha = hashlib.sha256()
        for array in (self.labels, self.classes, self.probabilities):
            sha.update(f"{array.dtype.str} {len(array)}\n".encode() + array.tobytes())
        return sha.hexdigest()

    def write(self, path: Path) -> None:
        """Write a complete `.npz` file or none. Equal predictions give equal bytes: about 25 KB for 10,000 images."""
        packed = io.BytesIO()
        np.savez_compressed(packed, **{name: getattr(self, name) for name in _ARRAYS})
        write_bytes(path, packed.getvalue())


def from_scores(
    scores: np.ndarray, log_probabilities: np.ndarray, labels: np.ndarray
) -> Predictions:
    """The predictions from scores [n, classes]; among equal scores, the first class counts.

    Args:
      log_probabilities: natural logarithms of the probabilities that the scores stand for, [n, classes].
    """
    whole = np.min_scalar_type(scores.shape[1] - 1).newbyteorder("<")
    classes = scores.argmax(axis=1)
    probabilities = np.exp(log_probabilities[np.arange(len(classes)), classes])
    return Predictions(labels.astype(whole), classes.astype(whole), probabilities.astype("<f2"))


def file_beside(results: Path, row: Result) -> Path | None:
    """The path, beside the file of rows, of the file with a row's predictions; None if the row has none."""
    if row.predictions is None:
        return None
    return results.with_name(f"{results.stem}.predictions") / f"{row.predictions[:16]}.npz"


def read(path: Path, row: Result) -> Predictions:
    """The predictions of a row, read from an untrusted file.

    Raises:
      ValueError: the file does not exist, or is not of that row: it has another digest or number of images, or marks
        other images as right.
    """
    n = row.test_images
    if path.is_symlink() or not path.is_file():
        raise _refusal(path, row, "there is no such file")
    if (size := path.stat().st_size) > _MOST_PER_IMAGE * n + _MOST_BESIDES:
        raise _refusal(path, row, f"it has {size:,} bytes, more than {n:,} images take")
    headers = npz.headers(path)
    allowed = [
        dict(zip(_ARRAYS, [((n,), d) for d in (whole, whole, np.dtype("<f2"))], strict=True))
        for whole in _WHOLE
    ]
    if headers not in allowed:
        raise _refusal(path, row, f"it lacks {', '.join(_ARRAYS)} of {n:,} images")
    predictions = Predictions(*(npz.array(path, name) for name in _ARRAYS))
    if predictions.digest != row.predictions:
        raise _refusal(path, row, f"its content has the digest {predictions.digest}")
    if not np.array_equal(predictions.labels == predictions.classes, unpack_bits(row.correct, n)):
        raise _refusal(
            path, row, "it marks other images as right than the row's 'correct' and top1 do"
        )
    if not ((predictions.probabilities >= 0) & (predictions.probabilities <= 1)).all():
        raise _refusal(path, row, "it has probabilities that are not from 0 to 1")
    return predictions


def _refusal(path: Path, row: Result, why: str) -> ValueError:
    return ValueError(
        f"{path}: not the predictions of run {row.run[:12]} ({why}): delete its run folder and run the same "
        "command again."
    )
