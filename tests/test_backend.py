"""Environment variables and log levels that loading a backend sets or keeps."""

from __future__ import annotations

import logging
import os
import platform
import sys
from pathlib import Path

import pytest

from compress import backend

X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.mark.parametrize(("before", "after"), [(None, "1" if X86 else None), ("0", "0")])
def test_onednn_is_enabled_unless_the_user_disabled_it(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str | None
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "kept for the end")  # to be restored
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if before is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", before)
    backend.litert.__wrapped__()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == after


@pytest.mark.parametrize(
    ("variable", "file", "name"),
    [
        (None, None, "tensorflow"),
        (None, '{"backend": "jax"}', "jax"),
        (None, '["jax"]', "tensorflow"),
        (None, "{", "tensorflow"),
        ("jax", '{"backend": "torch"}', "jax"),
    ],
)
def test_the_keras_backend_is_read_without_importing_keras(
    variable: str | None,
    file: str | None,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", variable or "")
    if file:
        (tmp_path / "keras.json").write_text(file)
    assert backend.name() == name
    assert "keras" not in sys.modules


def test_warnings_of_tensorflow_are_not_shown() -> None:
    assert not backend.tensorflow().get_logger().isEnabledFor(logging.WARNING)
