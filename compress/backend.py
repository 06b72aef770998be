"""The only access to Keras, TensorFlow, LiteRT and its quantizer. Importing this module imports none of them."""

import contextlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from compress.text import printable


def _set_defaults() -> None:
    """Set the variables that TensorFlow reads once, on import. Values that the user has set are kept."""
    # TensorFlow prints oneDNN, CUDA and absl lines on import, which do not help users.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow leaves oneDNN off on processors without AVX512-VNNI. Small CNNs train faster with it there too.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextlib.contextmanager
def stderr_held_back() -> Iterator[None]:
    """Hold back standard error of native code. Show it only if the block raises, except for KeyboardInterrupt."""
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
            # The text may quote a file. Its control characters must not reach the terminal.
            lines = held.read().decode(errors="replace").splitlines()
            with contextlib.suppress(OSError):  # standard error may be closed
                os.write(real, "".join(f"{printable(line)}\n" for line in lines).encode())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)


@cache
def keras() -> Any:
    """The Keras 3 module."""
    _set_defaults()
    with stderr_held_back():
        import keras

    if keras.backend.backend() == "tensorflow":
        tensorflow()
    else:
        _keep_tensorflow_from(keras)
    return keras


def _keep_tensorflow_from(keras_module: Any) -> None:
    """Hide TensorFlow from Keras. On another backend, Keras would import it only to recognize TensorFlow tensors."""
    before = sys.modules.get("tensorflow")
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        # This call makes Keras look for TensorFlow, and remember that there is none.
        keras_module.saving.serialize_keras_object(keras_module.DTypePolicy("float32"))
    finally:
        del sys.modules["tensorflow"]
        if before is not None:
            sys.modules["tensorflow"] = before


@cache
def tensorflow() -> Any:
    """The TensorFlow module. Never use its `.keras`: which Keras that is depends on import order."""
    _set_defaults()
    with stderr_held_back():
        import tensorflow

        tensorflow.config.list_logical_devices()  # the CUDA probe prints its warnings here, once
    # Its warnings are hints for authors of TensorFlow code, such as on retracing. Errors are exceptions.
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow


@cache
def litert() -> Any:
    """The LiteRT interpreter module (`.Interpreter`)."""
    _set_defaults()
    from ai_edge_litert import interpreter

    return interpreter


@cache
def tflite_schema() -> Any:
    """The flatbuffer classes of `.tflite` files, in pure Python: reading with them runs no native code."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


@cache
def tflite_micro() -> Any:
    """The module with TFLM's interpreter (`.Interpreter`), from the optional library tflite-micro."""
    from tflite_micro import runtime

    return runtime


@cache
def flatbuffer_builder() -> Any:
    """The class that writes flatbuffers, such as `.tflite` files; LiteRT depends on it."""
    from flatbuffers import Builder

    return Builder


@cache
def ai_edge_quantizer() -> tuple[Any, Any]:
    """Two modules of ai-edge-quantizer, an optional library: its `quantizer` and its `qtyping`."""
    _set_defaults()
    with stderr_held_back():
        from ai_edge_quantizer import qtyping, quantizer

    return quantizer, qtyping


def name() -> str:
    """The backend that Keras computes on, "tensorflow" or another. Does not import Keras."""
    if "keras" in sys.modules:
        return str(keras().backend.backend())
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    with contextlib.suppress(OSError, ValueError):
        settings = json.loads((home / "keras.json").read_bytes())
        if isinstance(settings, dict):
            return str(settings.get("backend", "tensorflow"))
    return "tensorflow"


def uses_tensorflow(keras_module: Any) -> bool:
    """True if this Keras module computes with TensorFlow: Keras 3 on the TensorFlow backend, or tf_keras."""
    return keras_module is not keras() or keras_module.backend.backend() == "tensorflow"
