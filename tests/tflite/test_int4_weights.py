"""Storing the weights of a file in 4 bits: the same codes in half the bytes."""

from __future__ import annotations

import numpy as np
import pytest

from compress import backend
from compress.tflite import contents
from compress.tflite.convert import converted
from compress.tflite.int4_weights import packed, stored_in_int4
from compress.tflite.tensor import unpack


def int8_file(largest: int) -> bytes:
    """A file of a convolution and a Dense layer, whose int8 codes go up to `largest`."""
    keras, tf = backend.keras(), backend.tensorflow()
    rng = np.random.default_rng(0)

    class Codes(keras.layers.Layer):
        def call(self, x):  # type: ignore[no-untyped-def]
            ranged = tf.quantization.fake_quant_with_min_max_args
            x = ranged(x, 0.0, 1.0)
            for inputs, outputs in ((3, 5), (5, 4)):
                w = rng.integers(-largest, largest + 1, (3, 3, inputs, outputs)).astype(np.float32)
                w[0, 0, 0] = largest
                w = ranged(w, -127.0, 127.0, narrow_range=True)
                x = ranged(tf.nn.conv2d(x, w, 1, "SAME"), -300.0, 300.0)
            return x

    image = keras.Input((4, 4, 3))
    return converted(keras.Model(image, Codes()(image)), "int8")


def test_packing_and_unpacking_gives_the_same_codes() -> None:
    codes = np.arange(-7, 8, dtype=np.int8).reshape(3, 5)
    np.testing.assert_array_equal(unpack(packed(codes).tobytes(), "int4", (3, 5)), codes)


def test_named_weights_have_the_same_codes_and_scales_in_four_bits() -> None:
    before = int8_file(7)
    first, second = contents.kernels(before)
    after = stored_in_int4(before, [first.name])
    stored = contents.kernels(after)
    assert [kernel.dtype for kernel in stored] == ["int4", "int8"]
    for old, new in zip((first, second), stored, strict=True):
        np.testing.assert_array_equal(new.values, old.values)
    (scales,) = {
        s.tensor.scales for c in (before, after) for s in contents.stored_tensors(c) if s.tensor.name == first.name
    }  # fmt: skip
    assert scales == (1.0,)
    bytes_of = [
        len(s.tensor.data)
        for c in (before, after)
        for s in contents.stored_tensors(c)
        if s.tensor.name == first.name
    ]
    assert bytes_of == [135, 68]


def test_the_file_with_4_bit_weights_computes_the_same() -> None:
    before = int8_file(7)
    after = stored_in_int4(before, [kernel.name for kernel in contents.kernels(before)])
    image = np.random.default_rng(1).integers(-128, 128, (1, 4, 4, 3), dtype=np.int8)
    outputs = []
    for content in (before, after):
        interpreter = backend.litert().Interpreter(model_content=content)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert len(np.unique(outputs[0])) > 10
    np.testing.assert_allclose(*(o.astype(int) for o in outputs), atol=1)


def test_codes_that_do_not_fit_into_4_bits_are_refused() -> None:
    content = int8_file(8)
    name = contents.kernels(content)[0].name
    with pytest.raises(ValueError, match=r"tensor '.*' does not fit into 4 bits."):
        stored_in_int4(content, [name])
    with pytest.raises(ValueError, match=r"the file has 0 of the 1 tensors \['nothing'\]."):
        stored_in_int4(content, ["nothing"])
