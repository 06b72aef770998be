"""Errors that a user can cause, turned into one sentence and an exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from compress.text import printable, sentence_of


@contextlib.contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn an error that a user can cause into one sentence: exit code 2 for a wrong command line, otherwise 1."""
    try:
        yield
        return
    except click.ClickException as error:
        vars(error)["message"] = printable(error.message)  # declared Final by click
        raise
    except KeyboardInterrupt:
        message = "interrupted. The same command resumes from the last whole epoch."
    except MemoryError:
        message = "out of memory."
    except BrokenPipeError:
        raise  # standard output is closed: click exits quietly
    except (OSError, ValueError) as error:
        message = sentence_of(error)
    raise click.ClickException(printable(message))
