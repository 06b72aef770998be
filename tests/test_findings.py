"""A finding is a value; its sentence has the stage first, then the subject, the reason and the remedy."""

from __future__ import annotations

import pytest

from compress.findings import (
    CannotTreat,
    Finding,
    about_layer,
    as_findings,
    by_cause,
    refuse_together,
)


@pytest.mark.parametrize(
    ("finding", "sentence"),
    [
        (Finding(("a",), "left dense: why"), "prune: a left dense: why."),
        (Finding(("a", "b"), "left dense"), "prune: a, b left dense."),
        (Finding(("a",), "left dense", "skip it"), "prune: a left dense: skip it."),
        (Finding(("a",), "left dense", subject="a/kernel"), "prune: a/kernel left dense."),
        (Finding((), "has no input", "build it", "the model"), "prune: the model has no input: build it."),
        (Finding((), "The model has two outputs", "use one"), "prune: The model has two outputs: use one."),
        (Finding((), "mine: a whole sentence."), "mine: a whole sentence."),
        (
            about_layer("a", "ReLU", "comes after 'b'", "swap them", "b"),
            "prune: layer 'a' (ReLU) comes after 'b': swap them.",
        ),
    ],
)  # fmt: skip
def test_a_sentence_has_stage_subject_reason_and_remedy(finding: Finding, sentence: str) -> None:
    assert finding.sentence("prune") == sentence
    assert finding.sentence() == sentence.removeprefix("prune: ")


def test_a_finding_about_a_layer_includes_the_layers_its_reason_names() -> None:
    assert about_layer("a", "ReLU", "comes after 'b'", "swap them", "b").layers == ("a", "b")


def test_a_plain_string_becomes_a_finding_without_layers() -> None:
    finding = Finding(("a",), "left dense")
    assert as_findings(["round: a stays.", finding]) == [Finding((), "round: a stays."), finding]
    assert as_findings(["round: a stays."])[0].sentence("round") == "round: a stays."


def test_a_refusal_holds_its_findings_and_joins_their_sentences() -> None:
    first, second = Finding(("a",), "is odd", "leave it out"), Finding(("b",), "is odd too")
    error = CannotTreat(first, second, stage="prune")
    assert isinstance(error, ValueError)
    assert error.findings == (first, second)
    assert str(error) == "prune: a is odd: leave it out. prune: b is odd too."
    assert str(CannotTreat(first)) == "a is odd: leave it out."


def test_findings_with_the_same_reason_are_joined_into_one_sentence() -> None:
    slopes = [about_layer(name, "PReLU", "is not known", "use ReLU") for name in "abcd"]
    other = Finding(("e",), "is not known", "use another")
    together = by_cause([slopes[0], other, *slopes[1:]])
    assert [finding.sentence("prune") for finding in together] == [
        "prune: each of 4 layers ('a' (PReLU), 'b' (PReLU), 'c' (PReLU), ...) is not known: use ReLU.",
        "prune: e is not known: use another.",
    ]
    assert together[0].layers == ("a", "b", "c", "d")
    error = CannotTreat(*slopes, stage="prune", cure="Do this.")
    assert error.findings == tuple(slopes)
    assert str(error) == f"{together[0].sentence('prune')} Do this."


def test_refusals_of_several_checks_are_raised_as_one_error() -> None:
    def refuse(name: str) -> None:
        raise CannotTreat(Finding((name,), "is odd"))

    refuse_together([lambda: None])
    with pytest.raises(CannotTreat) as caught:
        refuse_together([lambda: refuse("a"), lambda: None, lambda: refuse("b")])
    assert caught.value.findings == (Finding(("a",), "is odd"), Finding(("b",), "is odd"))


def test_findings_with_a_common_cause_are_joined() -> None:
    found = [
        Finding(
            (name, f"{name}2"),
            f"stays: '{name}2' is odd",
            subject=name,
            cause="stays: a Flip is odd",
        )
        for name in "ab"
    ]
    assert by_cause(found[:1]) == found[:1]
    (both,) = by_cause(found)
    assert both.sentence("prune") == "prune: each of 2 layers (a, b) stays: a Flip is odd."
    assert both.layers == ("a", "a2", "b", "b2")
