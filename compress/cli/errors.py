"""What a user can cause, as one sentence and an exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from compress.text import printable, sentence_of


@contextlib.contextmanager
def errors_as_sentences() -> Iterator[None]:
    """What a user can cause becomes one sentence: exit code 2 for wrong words, 1 for the rest."""
    try:
        yield
        return
    except click.ClickException as error:
        vars(error)["message"] = printable(error.message)  # click means it to be final
        raise
    except KeyboardInterrupt:
        message = "interrupted. The same words go on from the last whole epoch."
    except MemoryError:
        message = "out of memory."
    except BrokenPipeError:
        raise  # whoever read the results has gone: click ends quietly
    except (OSError, ValueError) as error:
        message = sentence_of(error)
    raise click.ClickException(printable(message))
