"""The only door to Keras, TensorFlow, LiteRT and its quantizer. Importing this module imports none of them."""

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
    """Set the variables that TensorFlow reads once, on import. Values that the user has set stay."""
    # TensorFlow prints oneDNN, CUDA and absl lines on import; they are noise on every machine we serve.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow leaves it off on processors without AVX512-VNNI; it trains small CNNs faster there too.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


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
            # It may quote a file, whose control characters must not reach the terminal.
            lines = held.read().decode(errors="replace").splitlines()
            with contextlib.suppress(OSError):  # nobody may be there to read it
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
    """Have Keras find no TensorFlow: on another backend it would import it only to ask what is one of its tensors."""
    before = sys.modules.get("tensorflow")
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # an import of it raises ImportError
    try:
        # Keras looks for it here, and remembers what it found.
        keras_module.saving.serialize_keras_object(keras_module.DTypePolicy("float32"))
    finally:
        del sys.modules["tensorflow"]
        if before is not None:
            sys.modules["tensorflow"] = before


@cache
def tensorflow() -> Any:
    """The TensorFlow module. Never use its `.keras`: what that means depends on import order."""
    _set_defaults()
    with stderr_held_back():
        import tensorflow

        tensorflow.config.list_logical_devices()  # the CUDA probe complains here, once
    # Its warnings are hints to who writes TensorFlow code, such as on retracing; errors come as exceptions.
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
    """The module of TFLM's interpreter (`.Interpreter`), of tflite-micro, an optional library."""
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
    """The backend that Keras computes on, "tensorflow" or another; Keras is not imported."""
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
    """Whether this Keras computes with TensorFlow: Keras 3 on that backend, or tf_keras."""
    return keras_module is not keras() or keras_module.backend.backend() == "tensorflow"
