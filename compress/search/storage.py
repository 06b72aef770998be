"""Storage: the study of a search in a database, where Optuna stores every trial.

The database contains numbers, texts and JSON. With the samplers and storages used here, Optuna pickles nothing.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.search.definition import OBJECTIVES, Definition, folder_of
from compress.search.limits import BEYOND

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy.engine import URL

FILE = "storage.db"
DATABASES = ("sqlite", "postgresql")
# A password in a parameter of a URL, or inside a parameter that contains a whole connection string.
PASSWORD = re.compile(r"password\s*=", re.IGNORECASE)
RETRIES = 3  # of a trial whose worker was lost
BUSY = 60  # seconds to wait for another process that writes to SQLite
POPULATION = 20  # of NSGA-II
# The pruner stops no trial among the first STARTUP ones, and none in its first WARM_UP tenths.
STARTUP, WARM_UP = 5, 2
EXCESSES, DEFINITION = "excesses", "definition"  # attributes of a trial and of a study


def check_installed() -> None:
    """Raise ValueError, with the command that installs Optuna, unless Optuna is installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ValueError(
            "a search needs Optuna, which is not installed: pip install 'compress-cnn[search]'."
        ) from None


def check_url(url: str) -> None:
    """Raise ValueError unless `url` is the URL of a supported database and contains no password."""
    check_installed()
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except ArgumentError:
        raise ValueError(
            f"{url!r:.200} is not the URL of a database, such as postgresql+psycopg://user@host/name or "
            "sqlite:///file.db."
        ) from None
    if parts.password is not None or any(map(PASSWORD.search, _parameters(parts))):
        raise ValueError(
            "a password in --storage would be kept and shown: leave it out, and set PGPASSWORD or write ~/.pgpass."
        )
    if parts.get_backend_name() not in DATABASES:
        raise ValueError(
            f"--storage {url!r:.200}: a search is kept in {' or '.join(DATABASES)}, not in {parts.get_backend_name()}."
        )


def _parameters(url: URL) -> Iterator[str]:
    """The decoded parameters after the question mark of a URL, each as key=value."""
    return (f"{key}={value}" for key, values in url.normalized_query.items() for value in values)


def check_shared(url: str | None) -> None:
    """Raise ValueError unless several machines can share the storage."""
    if url is None or url.startswith("sqlite"):
        raise ValueError(
            "--on ray://HOST:PORT: machines cannot share SQLite safely: give --storage "
            "postgresql+psycopg://user@host/name."
        )


def open_study(definition: Definition, out: Path) -> Study:
    """The study of a search, created if it does not exist.

    The proposals of the process that creates it depend only on the seed. Those of other or resumed processes differ.

    Raises:
      ValueError: the storage cannot be reached, is of another version, or has another search or study of that name.
    """
    check_installed()
    import optuna

    optuna.logging.disable_default_handler()  # only the console prints
    logging.getLogger("optuna").addHandler(logging.NullHandler())
    path = (folder_of(out, definition.name) / FILE).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    url = definition.storage or f"sqlite:///{path}"
    with _sentences(definition.storage or str(path)), _experimental():
        study = optuna.create_study(
            study_name=definition.name,
            storage=_database(url, definition.lease),
            directions=[OBJECTIVES[name] for name in definition.objectives],
            load_if_exists=True,
        )
        # Read the trials before the definition: whoever creates a study writes the definition before any trial.
        trials = len(study.get_trials(deepcopy=False))
        known = study.user_attrs.get(DEFINITION)
        if known is None:
            _check_new(study, trials, definition)
            study.set_user_attr(DEFINITION, definition.digest)
        elif known != definition.digest:
            raise ValueError(
                f"the storage has another search called {definition.name}: give this one another --name."
            )
        study.sampler = _sampler(definition, [] if known is None else [trials, os.getpid()])
        study.pruner = _pruner(definition)
    return study


def _check_new(study: Study, trials: int, definition: Definition) -> None:
    """Raise ValueError if a study without a definition has trials or other objectives: no search created it."""
    directions = [direction.name.lower() for direction in study.directions]
    if trials or directions != [OBJECTIVES[name] for name in definition.objectives]:
        raise ValueError(
            f"the storage has a study called {definition.name} that does not belong to a search: give this search "
            "another name with --name."
        )


def _database(url: str, lease: float) -> RDBStorage:
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    waits = {"connect_args": {"timeout": BUSY}} if url.startswith("sqlite") else {}
    return RDBStorage(
        url.replace("{", "{{").replace("}", "}}"),  # Optuna uses it as a format string
        engine_kwargs=waits,
        heartbeat_interval=max(1, int(lease / 3)),
        grace_period=max(2, int(lease)),
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
    )


def _sampler(definition: Definition, mixed_in: list[int]) -> BaseSampler:
    """TPE for one objective, NSGA-II for several.

    Args:
      mixed_in: numbers that are combined with the seed.
    """
    from optuna.samplers import NSGAIISampler, TPESampler

    mixed = np.random.SeedSequence([definition.options.get("seed", 0), *mixed_in])
    number = int(mixed.generate_state(1)[0])
    constraints: Callable[[FrozenTrial], list[float]] | None = None
    if definition.limits:
        beyond = [BEYOND] * len(definition.limits)

        def constraints(trial: FrozenTrial) -> list[float]:
            found: list[float] = trial.user_attrs.get(EXCESSES, beyond)
            return found

    if len(definition.objectives) > 1:
        return NSGAIISampler(population_size=POPULATION, seed=number, constraints_func=constraints)
    return TPESampler(seed=number, constant_liar=True, constraints_func=constraints)


def _pruner(definition: Definition) -> BasePruner:
    """A pruner that stops trials below the median of others at the same part of training; or one that stops none."""
    from optuna.pruners import MedianPruner, NopPruner

    if not is_pruned(definition):
        return NopPruner()
    return MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=WARM_UP)


def is_pruned(definition: Definition) -> bool:
    """True if trials may be stopped early: with several objectives Optuna cannot, and only accuracy is known early."""
    return tuple(definition.objectives) == ("top1",)


@contextmanager
def _experimental() -> Iterator[None]:
    """Silence Optuna's warnings that constraints and leases may change in later releases; its version is bounded."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def _sentences(where: str) -> Iterator[None]:
    """Turn errors of a database into readable messages."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"--storage {where} needs a package that is not installed ({error}): pip install 'psycopg[binary]' for "
            "PostgreSQL, with a URL such as postgresql+psycopg://user@host/name."
        ) from error
    except RuntimeError as error:  # Optuna raises it for tables of another version
        raise ValueError(
            f"storage {where} was written by another version of Optuna: run `optuna storage upgrade` to update it, or "
            "start a new search with another --name."
        ) from error
    except (SQLAlchemyError, StorageInternalError, AssertionError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise ValueError(
            f"storage {where} cannot be used: {reason:.200}. Expected the database of a search, or a new one."
        ) from error
