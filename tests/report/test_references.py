"""Published figures: reading them, and the sentences computed from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.cifar10.task import Cifar10
from compress.report.references import (
    Mark,
    accuracies,
    contradicts,
    find,
    judgements,
    marks,
    of_others,
    read_references,
)
from support.report_rows import PUBLISHED

HEAD = "name,data,quantity,split,images,value,as_published,source\n"


def written(folder: Path, *lines: str) -> Path:
    path = folder / "figures.csv"
    path.write_text(HEAD + "".join(line + "\n" for line in lines))
    return path


def test_all_figures_published_with_the_cnn_are_recorded() -> None:
    figures = read_references([PUBLISHED])
    expected = {
        ("params", ""): 118_258, ("accuracy", "validation"): 0.9263, ("accuracy", "test"): 0.8543,
        ("cross_entropy", "validation"): 0.2384, ("cross_entropy", "test"): 0.4933,
        ("file_bytes_below", ""): 100_000, ("params_budget", ""): 122_000, ("epochs", ""): 100,
        ("split_images", "train"): 42_500, ("split_images", "validation"): 7_500,
        ("learning_rate", ""): 0.001, ("batch_size", ""): 32,
    }  # fmt: skip
    found = {(f.quantity, f.split): f.value for f in figures}
    assert {key: found[key] for key in expected} == expected
    assert all("README" in f.source for f in figures)


def test_the_published_blocks_add_up_to_the_published_total() -> None:
    figures = read_references([PUBLISHED])
    blocks = ("block_1", "block_2", "block_3", "dense", "logits")
    parts = [find(figures, "cnn-118k", f"params_{block}") for block in blocks]
    total = find(figures, "cnn-118k", "params")
    assert total is not None
    assert sum(f.value for f in parts if f) == total.value


def test_the_contradiction_between_published_figures_is_computed() -> None:
    on_accuracy, on_size = judgements(read_references([PUBLISHED]))
    assert "contradict each other" in on_accuracy
    assert "92.63 % on 7,500 validation images and 85.43 % on 10,000 test images" in on_accuracy
    # 6,947 and 8,543 right: pooled 0.88514, standard error 0.0048705, so z is 14.76.
    assert "14.8 standard errors" in on_accuracy
    assert "p = 2.1e-49" in on_accuracy
    assert "compress data --check makes, by 7.20 (6.28 to 8.10) points." in on_accuracy
    assert "473,032 bytes as float32" in on_size
    assert on_size.endswith("under 100 KB, neither is.")


def test_consistent_figures_give_sentences_that_say_so(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "net,toy,accuracy,validation,100,0.86,86 %,a page",
        "net,toy,accuracy,test,100,0.85,85 %,a page",
        "net,toy,params,,,30000,30 k,a page",
        "net,toy,file_bytes_below,,,100000,under 100 KB,a page",
    )
    figures = read_references([path])
    on_accuracy, on_size = judgements(figures)
    assert on_accuracy.startswith("The two published accuracies of net agree: 86.00 % on 100")
    assert "0.2 standard errors" in on_accuracy
    assert on_size.endswith("under 100 KB, only int8 is.")
    assert not contradicts(figures[0], figures[1])


def test_a_single_accuracy_gives_no_judgement(tmp_path: Path) -> None:
    path = written(tmp_path, "net,toy,accuracy,test,100,0.85,85 %,a page")
    assert judgements(read_references([path])) == []


def test_figures_of_two_models_are_not_compared(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "a,toy,accuracy,validation,10000,0.95,95 %,a page",
        "b,toy,accuracy,test,10000,0.5,50 %,a page",
    )
    figures = read_references([path])
    assert judgements(figures) == []
    assert not contradicts(figures[0], figures[1])


def test_a_published_model_with_a_size_is_drawn_as_a_mark_of_another_network(
    tmp_path: Path,
) -> None:
    figures = read_references([written(
        tmp_path,
        "ours,toy,accuracy,test,100,0.9,90 %,a page",
        "other,toy,accuracy,test,100,0.8,80 %,a page",
        "other,toy,accuracy,validation,100,0.85,85 %,a page",
        "other,toy,macs,,,5000,5 k,a table",
        "sizes,toy,file_bytes,,,10,10 bytes,a page",
    )])  # fmt: skip
    assert [f.name for f in accuracies(figures)] == ["ours"]
    assert marks(figures, "toy", "macs") == [Mark("other", 0.8, 5000, "5 k, 80 %")]
    assert marks(figures, "toy", "file_bytes") == []  # without an accuracy there is no point
    assert marks(figures, "else", "macs") == []
    told = "Published for other networks, as given and not verified: "
    assert of_others(figures) == [
        f"{told}other: 80 %, 85 %, 5 k. From: a page; a table.",
        f"{told}sizes: 10 bytes. From: a page.",
    ]
    everything = read_references(Cifar10().references())
    assert {f.name for f in accuracies(everything)} == {"cnn-118k"}
    drawn = [
        m
        for field in ("file_bytes", "entropy_bytes", "macs")
        for m in marks(everything, "cifar10", field)
    ]
    assert {m.name for m in drawn} == {f.name for f in everything} - {"cnn-118k"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("net,toy,accuracy,test,100,1.5,150 %,page", "an accuracy needs a value from 0 to 1"),
        ("net,toy,accuracy,test,,0.5,50 %,page", "a number of images above 0"),
        ("net,toy,params,,,many,many,page", "many"),
        ("net,toy,params,,,nan,nan,page", "not a finite number"),
        ("net,toy,macs,,,0,none,page", "a size needs a value above 0"),
        ("net,toy,params,,x,1,1,page", "'x'"),
        ("net,toy,params", "8 fields"),
        ("net,toy,params,,,1,1,page,more", "8 fields"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_references([written(tmp_path, line)])
    assert "figures.csv, line 2: " in str(caught.value)


def test_an_unclosed_quote_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"figures\.csv.*unexpected end of data"):
        read_references([written(tmp_path, 'net,toy,params,,,1,1,"page')])


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other\.csv: the first line must be name,data,quantity"):
        read_references([path])
