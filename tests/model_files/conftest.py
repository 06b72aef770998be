"""The saved model that the tests of model files edit and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress import backend
from support.model_files import build


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One saved model; the tests edit or damage copies of it."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    build().save(path)
    return path


@pytest.fixture(scope="module")
def saved_h5(saved: Path) -> Path:
    """The same model as HDF5."""
    path = saved.with_suffix(".h5")
    backend.keras().saving.load_model(saved).save(path)
    return path
