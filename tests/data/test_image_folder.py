"""Class folders give the same splits everywhere; an invalid folder is refused in a sentence."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress import backend
from compress.data.dataset import Split
from compress.data.image_file import read_images
from compress.data.image_folder import read_folder
from compress.data.images import deal, read
from support.own_images import (
    class_folders,
    digests,
    images,
    of_sides,
    pixels_of,
    quiet,
    save,
    save_16_bits,
)

# Splits


def test_class_folders_without_splits_are_divided_into_three_splits_class_by_class(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    data = read(class_folders(tmp_path / "bugs", n=20), said.append)
    assert data.classes == ("ant", "bee")
    assert [np.bincount(s.labels).tolist() for s in of_sides(data)] == [[14, 14], [3, 3], [3, 3]]
    assert len(set.union(*map(pixels_of, of_sides(data)))) == 40
    assert said == [
        "bugs: 28 images to train on, 6 to choose by, 6 to measure on, in 2 classes; "
        "validation and test taken from train by content."
    ]


def test_shares_are_of_all_images() -> None:
    """Validation takes more than its share of the images that remain after the test split is drawn."""
    splits = deal({"train": Split(images(200), np.arange(200) % 2)})
    assert [np.bincount(s.labels).tolist() for s in splits] == [[70, 70], [15, 15], [15, 15]]


@pytest.mark.parametrize("parts", [[""], ["train", "validation", "test"]])
def test_splits_do_not_depend_on_the_names_of_files(tmp_path: Path, parts: list[str]) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for part in parts:
        class_folders(one / part)
    for path in one.rglob("*.png"):
        renamed = other / path.relative_to(one).with_stem(str(9 - int(path.stem)))
        renamed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, renamed)
    assert digests(read(one, quiet)) == digests(read(other, quiet))


def test_the_name_of_the_data_changes_with_any_pixel(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "bugs")
    before = read(root, quiet).name
    assert re.fullmatch("bugs-[0-9a-f]{8}", before)
    assert read(root, quiet).name == before
    save(root / "ant" / "0.png", images(1, seed=99)[0])
    assert read(root, quiet).name != before


def test_the_name_of_the_data_has_only_plain_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "my [red]bugs|.v2")
    monkeypatch.chdir(root)
    assert read(Path("."), quiet).name.startswith("my__red_bugs_.v2-")


def test_existing_splits_are_kept_and_missing_splits_are_drawn(tmp_path: Path) -> None:
    for part in ("train", "test"):
        class_folders(tmp_path / part, n=10 if part == "train" else 4)
    _, parts = read_folder(tmp_path)
    data = read(tmp_path, quiet)
    assert pixels_of(data.open_test()) == pixels_of(parts["test"])
    assert pixels_of(data.train) | pixels_of(data.validation) == pixels_of(parts["train"])
    assert np.bincount(data.validation.labels).tolist() == [2, 2]


def test_a_duplicate_image_is_kept_once() -> None:
    pixels = np.concatenate([images(20), images(20)])
    labels = np.tile(np.arange(20) % 2, 2)
    assert sum(map(len, deal({"train": Split(pixels, labels)}))) == 20
    # The same pixels under another label are another image.
    assert sum(map(len, deal({"train": Split(pixels, np.arange(40) // 20)}))) == 40


def test_a_note_counts_test_images_that_are_also_training_images(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test")
    shutil.copy(tmp_path / "train/ant/3.png", tmp_path / "test/ant/3.png")
    said: list[str] = []
    read(tmp_path, said.append)
    assert said[-1].endswith(
        ": 1 of the test images are also among those to train on or to choose by."
    )


# Folders


def test_labels_follow_the_sorted_names_as_in_keras(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x", names=("10", "2", "B", "a"), n=4)
    classes, parts = read_folder(root)
    dataset = backend.keras().utils.image_dataset_from_directory(root, verbose=False)
    assert list(classes) == dataset.class_names
    label = classes.index("2")
    (first,) = parts["train"].images[parts["train"].labels == label][:1]
    assert np.array_equal(first, np.asarray(Image.open(root / "2" / "0.png")))


def test_grey_images_have_one_channel_unless_one_image_has_color(tmp_path: Path) -> None:
    pixels = images(3, shape=(4, 4))
    paths = [save(tmp_path / f"{n}.png", p) for n, p in enumerate(pixels)]
    assert np.array_equal(read_images(paths), pixels[..., None])
    colour = images(1, shape=(4, 4, 3))[0]
    mixed = read_images([*paths, save(tmp_path / "colour.png", colour)])
    assert np.array_equal(mixed[:3], np.repeat(pixels[..., None], 3, axis=-1))
    assert np.array_equal(mixed[3], colour)


def test_jpegs_and_palettes_are_read_as_pillow_reads_them(tmp_path: Path) -> None:
    pixels = Image.fromarray(images(1)[0])
    pixels.save(tmp_path / "a.JPG")
    pixels.quantize(16).save(tmp_path / "b.png")
    for name in ("a.JPG", "b.png"):
        shown = np.asarray(Image.open(tmp_path / name).convert("RGB"))
        assert np.array_equal(read_images([tmp_path / name])[0], shown)


def test_files_left_by_file_managers_are_ignored(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x")
    for name in (".DS_Store", "ant/.DS_Store", "bee/Thumbs.db", "README.md"):
        (root / name).write_bytes(b"x")
    assert len(read(root, quiet).train) == 14


def truncated(root: Path) -> None:
    path = root / "bee/9.png"
    path.write_bytes(path.read_bytes()[:120])


def no_image(root: Path) -> None:
    (root / "bee/9.png").write_text("hello")


def bomb(root: Path) -> None:
    """A header of 60,000 x 60,000 pixels without the pixels."""
    content = bytearray((root / "ant/0.png").read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    (root / "ant/0.png").write_bytes(content)


def large(root: Path) -> None:
    Image.new("L", (9000, 9000)).save(root / "ant/0.png")


def pipe(root: Path) -> None:
    os.mkfifo(root / "bee/pipe.png")


def outside(root: Path) -> None:
    target = save(root.parent / "elsewhere.png", images(1)[0])
    (root / "bee/link.png").symlink_to(target)


def folder_outside(root: Path) -> None:
    (root / "cat").symlink_to(class_folders(root.parent / "elsewhere") / "ant")


def loop(root: Path) -> None:
    (root / "bee/loop.png").symlink_to("loop.png")


def loop_of_folders(root: Path) -> None:
    (root / "cat").symlink_to("dog")
    (root / "dog").symlink_to("cat")


def broken_link(root: Path) -> None:
    (root / "bee/gone.png").symlink_to("nowhere.png")


def transparent(root: Path) -> None:
    save(root / "bee/9.png", images(1, shape=(6, 5, 4))[0])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncated, "bee/9.png: not a whole PNG or JPEG image"),
        (no_image, "bee/9.png: not a whole PNG or JPEG image"),
        (bomb, "ant/0.png: not a whole PNG or JPEG image"),
        (large, "more than 4,000,000,000 bytes of pixels"),
        (pipe, "pipe.png: expected only files ending in .png, .jpg, .jpeg here"),
        (outside, "link.png leads out of"),
        (folder_outside, "cat leads out of"),
        (loop, "loop.png is a link that leads nowhere: take it out"),
        (loop_of_folders, "cat is a link that leads nowhere"),
        (broken_link, "gone.png is a link that leads nowhere"),
        (lambda r: save_16_bits(r / "bee/9.png", 6, 5), "bee/9.png: an image of 16 bits a channel; expected 8"),
        (lambda r: save_16_bits(r / "bee/9.png", 6, 5, colour=False), "an image of 16 bits a channel; expected 8"),
        (transparent, "mode RGBA, or with transparency; expected grey or RGB"),
        (lambda r: save(r / "bee/9.png", images(1, shape=(7, 5, 3))[0]), "5 x 7 pixels (width x height), but"),
        (lambda r: (r / "bee/notes.txt").write_text("x"), "notes.txt: expected only files ending in"),
        (lambda r: save(r / "stray.png", images(1)[0]), "stray.png is in no class folder"),
        (lambda r: (r / "cat").mkdir(), "cat has no images"),
        (lambda r: shutil.rmtree(r / "bee"), "1 class folders; expected two or more"),
        (lambda r: (r / "train").mkdir(), "has the folders ant, bee, train; expected train and"),
        (lambda r: [(r / f"bee/{n}.png").unlink() for n in range(8)], "no image of class bee in validation"),
    ],
)  # fmt: skip
def test_an_invalid_folder_is_refused_in_a_sentence(
    tmp_path: Path, damage: Callable[[Path], Any], sentence: str
) -> None:
    root = class_folders(tmp_path / "bugs")
    read(root, quiet)
    damage(root)
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read(root, quiet)
    assert sentence in str(caught.value)
    assert str(root) in str(caught.value)


def test_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "bugs", n=20)
    (root / "ant/link.png").symlink_to(root / "ant/0.png")
    assert sum(map(len, of_sides(read(root, quiet)))) == 40


@pytest.mark.parametrize("odd", ["test/bee", "validation/ant"])
def test_class_missing_from_a_split_is_named(tmp_path: Path, odd: str) -> None:
    for part in ("train", "validation", "test"):
        class_folders(tmp_path / part)
    shutil.rmtree(tmp_path / odd)
    with pytest.raises(ValueError, match=f"{odd} is missing; expected the same class folders"):
        read(tmp_path, quiet)


def test_class_that_only_the_test_split_has_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test", names=("ant", "bee", "cat"))
    with pytest.raises(ValueError, match="test/cat is not a class of train"):
        read(tmp_path, quiet)
