"""The space of a search: chains of stages, and domains that come from the types of options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from baselines.toy import Toy
from compress import registry, typed_options
from compress.search import space
from compress.search.default_space import default_space
from compress.search.domain import Choice, Range, parsed
from compress.search.limits import Limits
from compress.search.prediction import Fixed
from compress.tasks.images import Images

SPACE = """
chains = ["prune-filters quantize", "distill --student-width 0.5 qat"]

[prune-filters]
macs = {low = 0.2, high = 0.8, step = 0.2}
epochs = 0

[distill]
student-width = [0.25, 1.0]
epochs = {low = 1}

[qat]
bits = ["8", "4"]
"""


def field(stage: str, name: str) -> Any:
    fields = typed_options.fields(registry.stage(stage))
    return next(each for each in fields if each.name == name)


def read(tmp_path: Path, text: str) -> space.Space:
    file = tmp_path / "space.toml"
    file.write_text(text)
    return space.read(file)


def test_a_file_gives_chains_and_the_domains_of_their_options(tmp_path: Path) -> None:
    filters, student = read(tmp_path, SPACE).chains
    assert filters.domains() == {
        "prune-filters.macs": Range(0.2, 0.8, 0.2),
        "prune-filters.epochs": Choice((0,)),
    }
    # An option given in a chain is fixed; an end that is left out is that of the option.
    assert student.domains() == {
        "distill.epochs": Range(1, 100_000, whole=True),
        "qat.bits": Choice(("8", "4")),
    }
    pipeline = student.pipeline(Fixed({"distill.epochs": 3, "qat.bits": "4"}))
    assert pipeline.label == "distill --student-width 0.5 --epochs 3 qat --epochs 6 --bits 4"


def test_a_stage_that_occurs_twice_has_separate_options() -> None:
    record = {"chains": ["prune prune"], "prune": {"sparsity": {}}}
    (chain,) = space.parsed(record, "space").chains
    pipeline = chain.pipeline(Fixed({"prune.sparsity": 0.25, "prune#2.sparsity": 0.75}))
    assert [stage.spec()["sparsity"] for stage in pipeline.stages] == [0.25, 0.75]


@pytest.mark.parametrize("stage", registry.stage_names())
def test_an_empty_table_is_the_whole_range_of_an_option(stage: str) -> None:
    """Each option of a stage whose type has ends accepts both ends of its domain."""
    for each in typed_options.fields(registry.stage(stage)):
        kind = each.metadata["kind"]
        closed = isinstance(kind, click.FloatRange | click.IntRange) and None not in (
            kind.min,
            kind.max,
        )
        if closed or isinstance(kind, click.Choice):
            ends = parsed(each, {}, each.name).ends
            assert ends
            assert [kind.convert(end, None, None) for end in ends] == list(ends)


def test_an_excluded_end_of_a_range_is_not_in_the_domain() -> None:
    assert parsed(field("prune", "sparsity"), {}, "") == Range(0.0, 0.99)


def test_numbers_from_a_range_have_few_digits() -> None:
    chosen = Range(0.1, 0.9).chosen(Fixed({"x": 0.123456789}), "x")
    assert chosen == 0.1235
    assert Range(0.1, 0.90001).chosen(Fixed({"x": 0.900009}), "x") <= 0.90001


def test_lists_are_values_of_options_that_repeat() -> None:
    layers = parsed(field("prune", "skip"), [["conv1"], ["conv1", "conv2"]], "")
    assert layers == Choice((("conv1",), ("conv1", "conv2")))
    assert layers.chosen(Fixed({"x": '["conv1", "conv2"]'}), "x") == ("conv1", "conv2")
    assert parsed(field("prune", "skip"), ["conv1", "conv2"], "") == Choice((("conv1", "conv2"),))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("chains = 3", "chains is 3; expected pipelines, such as chains ="),
        ("chains = []", "chains is []; expected pipelines"),
        ("chains = ['']", "a chain is empty"),
        ("chains = ['prun']", "chain 'prun': no stage 'prun'; stages here: "),
        ("chains = ['quantize prune']", "put prune before quantize"),
        ("chains = ['prune --sparsty 1']", "No such option '--sparsty'"),
        ("chain = ['prune']", "no key 'chain'; keys here: chains, "),
        ("chains = ['prune']\n[prun]\nsparsity = {}", "Did you mean 'prune'?"),
        ("chains = ['prune']\n[qat]\nbits = '8'", "qat is in no chain"),
        ("chains = ['prune']\nprune = 1", "prune is 1; expected a table, such as [prune]."),
        ("chains = ['prune']\n[prune]\nsparsty = 1", "no option 'sparsty'; options here: teacher, "),
        ("chains = ['prune']\n[prune]\nsparsty = 1", "Did you mean 'sparsity'?"),
        ("chains = ['prune']\n[prune]\nsparsity = 1.5", "prune.sparsity: 1.5 is not in the range"),
        ("chains = ['prune']\n[prune]\nsparsity = [0.5, 1]", "1.0 is not in the range 0<=x<1"),
        ("chains = ['prune']\n[prune]\nsparsity = []", "the list is empty"),
        ("chains = ['prune']\n[prune]\nsparsity = {lo = 0.1}", "no key 'lo'; keys here: low, high"),
        ("chains = ['prune']\n[prune]\nsparsity = {low = -1}", "is not in the range 0<=x<1"),
        ("chains = ['prune']\n[prune]\nsparsity = {low = 0.9, high = 0.1}", "expected low first"),
        ("chains = ['prune']\n[prune]\nsparsity = {log = true}", "log requires a low above 0"),
        ("chains = ['prune']\n[prune]\nsparsity = {log = 1}", "log is 1; expected true or false"),
        ("chains = ['prune']\n[prune]\nsparsity = {step = 0}", "step is 0; expected a number above 0"),
        ("chains = ['prune']\n[prune]\nepochs = {step = 0.5}", "expected a whole number above 0"),
        ("chains = ['prune']\n[prune]\nsparsity = nan", "nan is not a finite number"),
        ("chains = ['prune']\n[prune]\nsparsity = [[0.3, 0.5]]", "prune.sparsity: [0.3, 0.5] is not a valid float"),
        ("chains = ['prune']\n[prune]\nsparsity = 1979-05-27", "prune.sparsity: datetime.date(1979, 5, 27) is not"),
        ("chains = ['prune']\n[prune]\nsparsity = {low = [0.1]}", "prune.sparsity: [0.1] is not a valid float range"),
        ("chains = ['prune']\n[prune]\nsparsity = [{a = 1}]", "prune.sparsity: {'a': 1} is not a value"),
        ("chains = ['prune']\n[prune]\nepochs = inf", "prune.epochs: inf is not a valid integer range"),
        ("chains = ['prune']\n[prune]\nrenew-statistics = [0, 1]", "renew-statistics: 0 is not a valid boolean"),
        (f"chains = ['prune']\n[prune]\nsparsity = {{step = {10**400}}}", "step is 1000"),
        ("chains = ['prune']\n[prune]\nscope = {low = 1}", "it is not a number; give a list of values"),
        ("chains = ['prune']\n[prune]\nlearning-rate = {}", "the option has no low end: give low"),
        ("chains = ['prune']\n[prune]\nskip = {}", "it is not a number; give a list of values"),
        ("chains", "is not a TOML file"),
    ],
)  # fmt: skip
def test_a_wrong_space_file_is_refused_in_one_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=r"space\.toml") as raised:
        read(tmp_path, text)
    assert sentence in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_the_default_space_has_the_networks_of_the_task() -> None:
    texts = [chain.text for chain in default_space(Toy(), Limits(), ["top1"]).chains]
    assert {"quantize", "prune-filters qat", "distill quantize"} <= set(texts)
    assert "distill --student-network residual --student-width 0.5 quantize" in texts
    own = [chain.text for chain in default_space(Images(), Limits(), ["top1"]).chains]
    assert not any("distill" in text for text in own)
    assert "prune-filters quantize" in own


def test_pruning_is_in_the_default_space_only_if_zeros_save_something() -> None:
    def texts(limits: Limits, *objectives: str) -> set[str]:
        return {chain.text for chain in default_space(Toy(), limits, objectives).chains}

    assert "prune quantize" not in texts(Limits(flash=9000), "top1")
    assert "prune quantize" in texts(Limits(), "top1", "gzip_bytes")
    assert "prune quantize encode" in texts(Limits(arena=9000), "top1")
    assert "prune quantize encode" in texts(Limits(), "arena_bytes")


def test_limits_add_chains_that_prune_filters_to_the_limit() -> None:
    space = default_space(Toy(), Limits(flash=9000, arena=8000), ["top1"])
    texts = [chain.text for chain in space.chains]
    assert texts[-2:] == [
        "prune-filters --arena 8000 quantize",
        "prune-filters --flash 9000 quantize --scheme int8",
    ]
    assert set(space.chains[-1].domains()) == {"prune-filters.epochs"}


def test_a_flash_limit_adds_chains_in_8_and_4_bits() -> None:
    texts = [chain.text for chain in default_space(Toy(), Limits(flash=9000), ["top1"]).chains]
    assert texts[-2:] == [
        "prune-filters --flash 9000 quantize --scheme int8",
        "prune-filters --flash 9000 quantize --scheme int4",
    ]


def test_distill_and_prune_filters_may_train_longer_than_by_default() -> None:
    space = default_space(Toy(), Limits(), ["top1"])
    found = {
        name: domain.ends for chain in space.chains for name, domain in chain.domains().items()
    }
    assert found["distill.epochs"] == (5, 160)
    assert found["prune-filters.epochs"] == (7, 240)
    assert found["qat.epochs"][1] == 6
