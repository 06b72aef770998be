"""The only door to Keras, TensorFlow and LiteRT. Importing this module imports none of them."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from typing import Any


def _quiet() -> None:
    # TensorFlow prints oneDNN, CUDA and absl lines on import; they are noise on every machine we serve.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


@contextlib.contextmanager
def stderr_held_back() -> Iterator[None]:
    """Keep what native code writes to standard error; show it only if the block raises."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        real = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            held.seek(0)
            os.write(real, held.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)


@cache
def keras() -> Any:
    """The Keras 3 module."""
    _quiet()
    with stderr_held_back():
        import keras

    if keras.backend.backend() == "tensorflow":
        tensorflow()
    return keras


@cache
def tensorflow() -> Any:
    """The TensorFlow module. Never use its `.keras`: what that means depends on import order."""
    _quiet()
    with stderr_held_back():
        import tensorflow

        tensorflow.config.list_logical_devices()  # the CUDA probe complains here, once
    return tensorflow


@cache
def litert() -> Any:
    """The LiteRT interpreter module (`.Interpreter`)."""
    _quiet()
    from ai_edge_litert import interpreter

    return interpreter


@cache
def tflite_schema() -> Any:
    """The flatbuffer classes of `.tflite` files, in pure Python: reading with them runs no native code."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def uses_tensorflow(keras_module: Any) -> bool:
    """Whether this Keras computes with TensorFlow: Keras 3 on that backend, or tf_keras."""
    return keras_module is not keras() or keras_module.backend.backend() == "tensorflow"
