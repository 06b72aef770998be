"""The folders of the trained models that ship with this package."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
FOLDERS = (_HERE, _HERE.parent / "trained")
