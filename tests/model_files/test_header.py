"""A model for other images or classes is refused by its header, before TensorFlow is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.model_files.fits_task import check_header
from compress.model_files.header import Header, header_of
from support.architectures import functional, good, h5_file, image, keras_file, obj, sequential
from support.fresh_python import printed_by

DENSE = obj("Dense", name="scores", units=7)


def test_the_header_of_keras_and_hdf5_files_has_image_shape_and_classes() -> None:
    told = Header((8, 8, 3), 3)
    assert header_of(keras_file(Path("model.keras"))) == told
    assert header_of(h5_file(Path("model.h5"))) == told


def test_the_header_of_a_sequential_is_read_in_keras_3_and_keras_2_format() -> None:
    config = sequential(image((6, 6, 1)), obj("Flatten", name="flat"), DENSE)
    assert header_of(keras_file(Path("model.keras"), config)) == Header((6, 6, 1), 7)
    first = obj("Flatten", name="flat", batch_input_shape=[None, 5, 5, 1])
    assert header_of(keras_file(Path("old.keras"), sequential(first, DENSE))) == Header(
        (5, 5, 1), 7
    )


def test_the_number_of_classes_is_unknown_if_the_last_layer_has_no_units() -> None:
    config = functional(image(), obj("GlobalAveragePooling2D", name="pool"))
    assert header_of(keras_file(Path("model.keras"), config)) == Header((8, 8, 3), None)
    check_header(Path("model.keras"), (8, 8, 3), 10, "digits")


@pytest.mark.parametrize(
    "text", [b"{", b"[" * 9999, b"[]", b"{}", b'{"class_name": "Functional", "config": 3}', b"\xff"]
)
def test_an_unreadable_header_is_not_refused_before_loading(text: bytes) -> None:
    path = keras_file(Path("model.keras"), text)
    assert header_of(path) is None
    check_header(path, (1, 1, 1), 1, "digits")
    assert header_of(Path("gone.keras")) is None
    Path("cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert header_of(Path("cut.h5")) is None


def test_an_open_image_size_or_two_inputs_give_no_header() -> None:
    open_size = functional(image((None, None, 3)), DENSE)
    assert header_of(keras_file(Path("open.keras"), open_size)) is None
    two = functional(image(), image(name="other"), DENSE)
    assert header_of(keras_file(Path("two.keras"), two)) is None


@pytest.mark.parametrize(
    "words",
    [
        "run --task toy --model FILE quantize",
        "evaluate --task toy FILE",
        "doctor --task toy FILE quantize",
    ],
)
def test_commands_refuse_a_wrong_header_before_importing_tensorflow(words: str) -> None:
    file = str(keras_file(Path("model.keras"), good()).absolute())
    command = [file if word == "FILE" else word for word in words.split()]
    printed = printed_by(
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from compress.cli.main import cli\n"
        f"ran = CliRunner().invoke(cli, {command!r})\n"
        "print(ran.exit_code, sorted({'tensorflow', 'keras'} & set(sys.modules)), ran.stderr)"
    )
    assert printed == (
        f"1 [] Error: model {file} takes 8x8x3 images and gives 3 classes; task toy has 12x12x3 and 3: give a model "
        "built for these images, or the task that this model was built for."
    )
