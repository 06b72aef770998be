"""What loading a backend sets for it, and leaves."""

from __future__ import annotations

import os
import platform

import pytest

from compress import backend

X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.mark.parametrize(("before", "after"), [(None, "1" if X86 else None), ("0", "0")])
def test_onednn_is_on_unless_the_user_turned_it_off(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str | None
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "kept for the end")  # so that it is set back
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if before is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", before)
    backend.litert.__wrapped__()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == after
