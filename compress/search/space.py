"""Space: the chains of stages that a search chooses among, and the domains of their options."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress import registry, typed_options
from compress.input_file import regular
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import stages_of
from compress.search import domain
from compress.search.domain import Chooser, Domain
from compress.stage import Stage
from compress.text import no_such

MAX_BYTES = 1_000_000
CHAINS = "chains"
NUMBER = "#"  # before the number of a stage that is in its chain more than once
CHAIN = "chain"  # the name that Optuna has for the choice of a chain
EXAMPLE = 'chains = ["prune-filters quantize", "distill qat"]'


@dataclass(frozen=True)
class Slot:
    """A stage in a chain: its class, its fixed options, and the domains of the options that are chosen."""

    cls: type[Stage]
    fixed: Mapping[str, Any]
    domains: Mapping[str, Domain]
    called: str  # the stage's name, followed by a number if the stage is in the chain before

    def stage(self, chooser: Chooser) -> Stage:
        """The stage with the chosen options. ValueError if they do not go together."""
        chosen = {
            name: values.chosen(chooser, f"{self.called}.{name}")
            for name, values in self.domains.items()
        }
        return self.cls(**{**self.fixed, **chosen})


@dataclass(frozen=True)
class Chain:
    """An ordered sequence of stages."""

    text: str  # as in the space
    slots: tuple[Slot, ...]

    def pipeline(self, chooser: Chooser) -> Pipeline:
        """The pipeline with the chosen options. ValueError if they do not go together."""
        return Pipeline(tuple(slot.stage(chooser) for slot in self.slots))

    def domains(self) -> dict[str, Domain]:
        """Name of each option that is chosen, as Optuna has it -> its domain."""
        return {f"{s.called}.{name}": d for s in self.slots for name, d in s.domains.items()}


@dataclass(frozen=True)
class Space:
    """The chains, of which each trial has one, and the JSON record that they were read from."""

    record: Mapping[str, Any]
    chains: tuple[Chain, ...]

    def pipeline(self, chooser: Chooser) -> Pipeline:
        """The pipeline of a trial. ValueError if the chosen options do not go together."""
        text = chooser.suggest_categorical(CHAIN, [chain.text for chain in self.chains])
        return next(c for c in self.chains if c.text == text).pipeline(chooser)


def read(path: Path) -> Space:
    """The space in a TOML file. ValueError, with the file and the place, if something in it is unknown or wrong."""
    if regular(path).stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: more than {MAX_BYTES:,} bytes; expected some chains and ranges.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}.") from error
    return parsed(content, str(path))


def parsed(record: Mapping[str, Any], source: str) -> Space:
    """The space of a record: the key "chains" has pipelines as typed, and the key of a stage has a table of domains.

    Args:
      source: the file or other origin of the record, for the start of every error message.

    Raises:
      ValueError: a key is unknown, a chain is not valid, or an option does not take the given values.
    """
    installed = registry.stage_names()
    for key in record:
        if key not in (CHAINS, *installed):
            raise ValueError(f"{source}: {no_such('key', key, (CHAINS, *installed))}")
    texts = record.get(CHAINS)
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise ValueError(
            f"{source}: chains is {texts!r:.100}; expected pipelines, such as {EXAMPLE}."
        )
    tables = {name: table for name, table in record.items() if name != CHAINS}
    domains = {name: _domains(name, table, source) for name, table in tables.items()}
    chains = tuple(_chain(text, domains, source) for text in dict.fromkeys(texts))
    used = {slot.cls.name for chain in chains for slot in chain.slots}
    for name in domains:
        if name not in used:
            raise ValueError(
                f"{source}: {name} is in no chain: remove its table, or add a chain with it."
            )
    return Space(record, chains)


def _domains(stage: str, table: Any, source: str) -> dict[str, Domain]:
    """The domains of a stage's table: option -> domain."""
    if not isinstance(table, Mapping):
        raise ValueError(
            f"{source}: {stage} is {table!r:.100}; expected a table, such as [{stage}]."
        )
    fields = {field.name: field for field in typed_options.fields(registry.stage(stage))}
    flags = [name.replace("_", "-") for name in fields]
    found = {}
    for key, given in table.items():
        name = key.replace("-", "_")
        if name not in fields:
            raise ValueError(f"{source}: {stage} has {no_such('option', key, flags)}")
        found[name] = domain.parsed(fields[name], given, f"{source}: {stage}.{key}")
    return found


def _chain(text: str, domains: Mapping[str, Mapping[str, Domain]], source: str) -> Chain:
    """The chain of a text. The options that the text names are fixed."""
    try:
        stages = Pipeline(stages_of(text) if text.split() else ()).stages
    except ValueError as error:
        raise ValueError(f"{source}: chain {text!r}: {error}") from error
    if not stages:
        raise ValueError(f"{source}: a chain is empty; expected pipelines, such as {EXAMPLE}.")
    words = [word.partition("=")[0] for word in shlex.split(text) if word.startswith("--")]
    typed = {word[2:].replace("-", "_") for word in words}
    slots, seen = [], list[str]()
    for stage in stages:
        seen.append(stage.name)
        values = {field.name: getattr(stage, field.name) for field in typed_options.fields(stage)}
        usual = type(stage)()  # creating a stage may fill in a default
        fixed = {n: v for n, v in values.items() if n in typed or v != getattr(usual, n)}
        own = domains.get(stage.name, {})
        free = {name: d for name, d in own.items() if name not in fixed}
        number = seen.count(stage.name)
        called = stage.name if number == 1 else f"{stage.name}{NUMBER}{number}"
        slots.append(Slot(type(stage), fixed, free, called))
    return Chain(text, tuple(slots))
