"""Stored answers: the logits of a teacher for every view of every image, computed once and read by every student.

A file holds the answers of one teacher to one view: logits minus the largest of each image, float16 [n, classes], in
numpy's format, followed by the SHA-256 of the array. Its name is a digest of everything that decides the answers.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compress.data import npz
from compress.files import check_own, digest, open_lock, replacing
from compress.keras_models import layers
from compress.keras_models.model import KerasModel
from compress.training.distillation_losses import TINY
from compress.training.precision import VERSION as PRECISION_VERSION
from compress.training.precision import Precision, compiled_copy
from compress.training.progress import Progress
from compress.training.views import View, Views

VERSION = 2  # of the answers: raise it when the computation of views or answers changes
BATCH = 500
LEAST = -60_000.0  # lower limit of an answer; float16 ends at -65,504
DIGEST_BYTES = 32


@dataclass(frozen=True)
class StoredAnswers:
    """The answers of teachers to the views of a training.

    `prepare` computes the answers that are not stored yet. Without a folder, answers stay in memory.
    """

    teachers: Sequence[KerasModel]
    views: Views
    folder: Path | None
    progress: Progress
    precision: Precision = "float32"  # precision that teachers compute in
    # (teacher, view) -> answers. Without a folder all are held, otherwise only those of the current view.
    _held: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, init=False)

    def prepare(self) -> None:
        """Compute and store the answers to all views that the training shows, one whole view at a time.

        Raises:
          ValueError: the disk cannot hold the answers, or a teacher gives scores that are not finite.
        """
        wanted = [(t, v) for t in range(len(self.teachers)) for v in self.views.shown()]
        missing = [each for each in wanted if self._find(*each) is None]
        if not missing:
            return
        self._announce(len(missing))
        for teacher in dict.fromkeys(teacher for teacher, _ in missing):
            answer = _answering(self.teachers[teacher], self.precision)
            numbers = [view for t, view in missing if t == teacher]
            for done, number in enumerate(numbers, 1):
                with self._lock(teacher):
                    if self._find(teacher, number) is None:  # another process may have stored it
                        self._store(teacher, number, answer)
                name = self.teachers[teacher].digest[:12]
                self.progress.note(f"teacher {name}: {done} of {len(numbers)} views answered")

    def of(self, view: View, chosen: np.ndarray) -> list[np.ndarray]:
        """The stored logits of each teacher for the images `chosen` in a view: float32 [b, classes] each.

        Raises:
          ValueError: a file has been deleted or damaged since `prepare`.
        """
        teachers = range(len(self.teachers))
        return [self._answers(t, view.number)[chosen].astype(np.float32) for t in teachers]

    def _answers(self, teacher: int, number: int) -> np.ndarray:
        key = teacher, number
        if key not in self._held:
            # Keep one view only, because each holds a file open.
            for other in [held for held in self._held if held[1] != number]:
                del self._held[other]
            if (found := self._find(teacher, number)) is None:
                raise ValueError(
                    f"stored answers in {self.folder} are gone: give the same command again, which stores them anew."
                )
            self._held[key] = found
        return self._held[key]

    def _path(self, folder: Path, teacher: int, number: int) -> Path:
        """The file of a teacher's answers to a view."""
        views, model = self.views, self.teachers[teacher].digest
        key = digest(
            {
                "version": VERSION,
                "teacher": model,
                "images": views.split.digest,
                "scale": views.scale,
                "view": number,
                "augmentation": views.augmentation(number),
            }
            | (
                {}
                if self.precision == "float32"
                else {"precision": [self.precision, PRECISION_VERSION]}
            )
        )
        return folder / f"teacher-{model[:12]}" / f"view-{number}-{key[:32]}.npy"

    def _announce(self, files: int) -> None:
        size = files * 2 * len(self.views.split) * self.views.classes
        if self.folder is None:
            return
        what = f"teachers' answers to {files} {'view' if files == 1 else 'views'} of {len(self.views.split):,} images"
        self.folder.mkdir(parents=True, exist_ok=True)
        check_own(self.folder)
        if size > (free := shutil.disk_usage(self.folder).free):
            raise ValueError(
                f"{what} take {_shown(size)}, but {self.folder} has {_shown(free)} free: give fewer --views, "
                "or another --out."
            )
        self.progress.note(f"{what} are stored in {self.folder}, {_shown(size)}")

    def _find(self, teacher: int, number: int) -> np.ndarray | None:
        """The stored answers of a teacher to a view; None if they are missing or damaged."""
        if self.folder is None:
            return self._held.get((teacher, number))
        path = self._path(self.folder, teacher, number)
        try:
            return _opened(path, (len(self.views.split), self.views.classes))
        except FileNotFoundError:
            return None
        except (ValueError, *npz.NO_HEADER) as error:
            self.progress.note(f"{path} is damaged ({error}): its answers are computed again.")
            return None

    def _store(self, teacher: int, number: int, answer: Callable[[np.ndarray], np.ndarray]) -> None:
        n, classes = len(self.views.split), self.views.classes
        view, answers = self.views.view(number), np.empty((n, classes), np.float16)
        for start in range(0, n, BATCH):
            chosen = np.arange(start, min(start + BATCH, n))
            answers[chosen] = answer(view.batch(chosen)[0])
        if self.folder is None:
            self._held[teacher, number] = answers
            return
        path = self._path(self.folder, teacher, number)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, answers, allow_pickle=False)
            file.write(hashlib.sha256(answers.data).digest())

    @contextmanager
    def _lock(self, teacher: int) -> Iterator[None]:
        """Lock the files of a teacher, so that two students do not compute the same answers at the same time."""
        if self.folder is None:
            yield
            return
        folder = self._path(self.folder, teacher, 0).parent
        folder.mkdir(parents=True, exist_ok=True)
        with open_lock(folder / ".lock") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            yield


def _answering(teacher: KerasModel, precision: Precision) -> Callable[[np.ndarray], np.ndarray]:
    """A function from scaled images to logits minus the largest of each image: float32 [b, classes]."""
    copy = compiled_copy(teacher, precision)
    gives_probabilities = layers.gives_probabilities(copy)

    def answer(images: np.ndarray) -> np.ndarray:
        scores: Any = np.array(copy.predict_on_batch(images), np.float32)
        if not np.isfinite(scores).all():
            raise ValueError(
                "the teacher answers some images with NaN or infinity; its training may have diverged."
            )
        if gives_probabilities:
            scores = np.log(np.maximum(scores, TINY))
        return np.maximum(scores - scores.max(axis=1, keepdims=True), LEAST)

    return answer


def _opened(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The memory-mapped array of a file. ValueError if its content has changed, FileNotFoundError without a file."""
    check_own(path)
    answers = np.lib.format.open_memmap(path, mode="r")
    if answers.shape != shape or answers.dtype != np.float16 or not answers.flags.c_contiguous:
        raise ValueError(
            f"it holds {answers.dtype} {list(answers.shape)}, not float16 {list(shape)}"
        )
    with path.open("rb") as file:
        file.seek(answers.offset + answers.nbytes)
        written = file.read(DIGEST_BYTES + 1)
    if hashlib.sha256(answers.data).digest() != written:
        raise ValueError("its content is not what was written")
    return answers


def _shown(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} KB"
