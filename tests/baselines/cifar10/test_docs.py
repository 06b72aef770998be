"""The page on data says what the code does."""

import re
from pathlib import Path

import numpy as np
import pytest

from baselines.cifar10 import archive, find, npz, sample
from baselines.cifar10.spec import CLASSES, FULL
from compress.data.cifar_batches import BINARY, PYTHON

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "data.md").read_text()
SAMPLE_PAGE = (ROOT / "baselines" / "sample" / "README.md").read_text()


@pytest.mark.parametrize(
    "word",
    [
        "CIFAR10_DIR", "KERAS_HOME", "XDG_CACHE_HOME", "COMPRESS_OFFLINE",
        find.ARCHIVE.url, BINARY.folder, PYTHON.folder, BINARY.train[-1], PYTHON.train[-1],
        BINARY.test[0], *archive.OFFICIAL.values(), *npz.NAMES,
    ],
)  # fmt: skip
def test_the_page_names_every_variable_and_file_that_the_code_looks_for(word):
    assert f"{word}" in PAGE


def test_the_code_reads_every_variable_that_the_page_names():
    code = "".join(path.read_text() for path in (ROOT / "baselines").rglob("*.py"))
    for variable in re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z_]+\b", PAGE):
        assert f'"{variable}"' in code


def test_the_page_states_the_split_sizes():
    held_out = round(find.VALIDATION_FRACTION * FULL.train / len(CLASSES)) * len(CLASSES)
    sizes = [int(n.replace(",", "")) for n in re.findall(r"^\| \w+ \| ([\d,]+) \|", PAGE, re.M)]
    assert sizes == [FULL.train - held_out, held_out, FULL.test]


def test_both_pages_state_the_size_and_order_of_the_sample():
    assert f"{sample.COUNTS.train:,} training and {sample.COUNTS.test:,} test" in PAGE
    images, labels = sample.open_sample().train()
    per_class = np.bincount(labels)[0]
    held_out = round(find.VALIDATION_FRACTION * per_class)
    assert f"{per_class} of each class for training" in SAMPLE_PAGE
    assert f"{held_out} training images of each class" in SAMPLE_PAGE
    assert f"{per_class - held_out} from the" in SAMPLE_PAGE
    assert ", ".join(CLASSES) in SAMPLE_PAGE
    assert len(images) == sample.COUNTS.train


def test_the_page_states_the_size_limit_for_unpacking_an_archive():
    assert f"{archive.MAX_UNPACKED // 10**6} MB" in PAGE
