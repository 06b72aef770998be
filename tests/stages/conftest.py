"""Fixtures for tests of stages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def whatever_training_does() -> Iterator[None]:
    """No training is undone because it did not help, and none has its statistics renewed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compress.training.recovery._is_below", lambda *asked: False)
        patch.setattr("compress.training_stage.SHORT", 0)
        yield
