"""Files to read: those that are kept somewhere, and folders; a device or a pipe may have no end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


def regular(path: Path) -> Path:
    """`path`, if a file or a folder or nothing is there. ValueError if it is something else, or a link to that."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(f"{path} is a device or a pipe; expected a file or a folder.")
    return path


class FilePath(click.Path):
    """An option that names a file or a folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = click.Path.convert(self, value, param, ctx)
        try:
            regular(Path(str(path)))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return path
