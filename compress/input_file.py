"""Paths to read from: only regular files and folders, because a device or a pipe may have no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import click

from compress import zoo


def regular(path: Path) -> Path:
    """The path itself. ValueError if it is a device, a pipe or a socket, or a link to one."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return path  # opening it raises the error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
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


class ModelPath(FilePath):
    """An option that names a model: a file, or `zoo:NAME`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            model = zoo.named(value) if isinstance(value, str) else None
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return FilePath.convert(self, str(model.file) if model else value, param, ctx)


class ModelName(ModelPath):
    """A `ModelPath` for options of stages: `zoo:NAME` stays as typed, because rows must not hold paths of a machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = ModelPath.convert(self, value, param, ctx)
        return value if isinstance(value, str) and value.startswith(zoo.PREFIX) else path
