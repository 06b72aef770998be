"""The columns of a comparison: each has a heading, an explanation and a function that makes its cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from compress.report import text
from compress.report.compare import Record
from compress.rows.field_check import Fraction, kinds_of, number_of
from compress.rows.measurement import Measurement
from compress.statistics.significance import SIGNIFICANCE


@dataclass(frozen=True)
class Column:
    """One column; `note` explains it to a newcomer in one sentence."""

    heading: str
    note: str
    cell: Callable[[Record], str]


def name(record: Record) -> str:
    """The label of a record: the stages as typed, marked if they trained on more than the training images."""
    more = record["trained_on"] not in (None, "train")
    return f"{record['label']}, trained on {record['trained_on']}" if more else record["label"]


def difference(record: Record) -> str:
    """The difference from the baseline with its interval and the result of the test."""
    if record["kind"] != "compressed":
        return text.MISSING
    if record["difference"] is None:
        return record["remark"]
    value = text.with_interval(
        record["difference"], record["difference_low"], record["difference_high"], "+"
    )
    shown = value if distinguishable(record) else f"{value}, not distinguishable"
    return f"{shown}, {record['remark']}" if record["remark"] else shown


def distinguishable(record: Record) -> bool:
    """True if the adjusted p is below `SIGNIFICANCE`."""
    return record["p_adjusted"] is not None and record["p_adjusted"] < SIGNIFICANCE


def _published(split: str) -> Callable[[Record], str]:
    value, low, high = (f"from_published_{split}{end}" for end in ("", "_low", "_high"))
    return lambda r: text.with_interval(r[value], r[low], r[high], "+")


def _size(field: str) -> Callable[[Record], str]:
    def cell(record: Record) -> str:
        ratio = record[f"{field}_ratio"]
        share = f" ({text.percent(ratio)})" if ratio is not None else ""
        return text.kilobytes(record[f"{field}_bytes"]) + share

    return cell


def _measured(name: str) -> Callable[[Record], str]:
    """The format of a measured number: a fraction in percent, a count as it is, others with four decimals."""
    kind = kinds_of(Measurement)[name]
    if kind in (Fraction, Fraction | None):
        return lambda r: text.percent(r[name])
    if number_of(kind) is int:
        return lambda r: text.count(r[name])
    return lambda r: text.decimals(r[name], 4)


MODEL = Column(
    "Model",
    "the stages as typed, `baseline` for the model as it came in, or `train ...` for one trained "
    "from scratch.",
    name,
)
OF = Column(
    "Of",
    "digest of the model that came in: rows with the same one are the same baseline and what was "
    "made of it.",
    lambda r: text.short(r["model"] or ""),
)
DATA = Column(
    "Measured on",
    "name of the data, its split and the number of its images; rows of different data are never "
    "compared.",
    lambda r: f"{r['data']} {r['split']}, {text.count(r['images'])} images",
)
SEED = Column(
    "Seed",
    "what all random choices of the run were drawn from; a baseline is measured, not drawn, so "
    "its seed changes nothing.",
    lambda r: text.MISSING if r["seed"] is None else str(r["seed"]),
)
RUN = Column(
    "Run",
    "digest that names the run folder; its command, commit and machine are in `comparison.html` and `comparison.csv`.",
    lambda r: text.short(r["run"] or ""),
)
TOP1 = Column(
    "Top-1, %",
    "share of the images whose most likely class is the right one, with its 95 % Wilson "
    "interval: how far chance in drawing the images can have moved it.",
    lambda r: text.with_interval(r["top1"], r["top1_low"], r["top1_high"]),
)
DIFFERENCE = Column(
    "From baseline, points",
    "top-1 minus the baseline's on the same images, in percentage points, with the interval that "
    "inverts the exact McNemar test at the row's step of Holm's correction: it holds 0 exactly where "
    f"p is {SIGNIFICANCE} or more, and the row is `not distinguishable`.",
    difference,
)
SAME = Column(
    "Same within, points",
    "the smallest margin within which the row is shown to be as accurate as its baseline: two "
    f"one-sided tests at {100 * SIGNIFICANCE:.0f} % each on the same images (TOST); that a difference "
    "is not distinguishable does not show that there is none, this does.",
    lambda r: text.points(r["equivalence_margin"]),
)
P = Column(
    "p",
    "how often two equally good models would differ by as much or more on these images: the exact "
    "McNemar test, Holm's correction over the rows of the same baseline.",
    lambda r: text.p_value(r["p_adjusted"]),
)
CONTROLS = Column(
    "Against controls",
    "whether the row beats what is cheaper to try, where that is among the rows: as many epochs of plain training on, "
    "a network as large trained from scratch, filters taken out at random; exact McNemar test as beside the baseline.",
    lambda r: r["controls"] or text.MISSING,
)
PUBLISHED_TEST = Column(
    "From published test, points",
    "top-1 minus the published test accuracy, with the 95 % interval for independent samples "
    "(Newcombe 1998, method 10), because which images the published model got right is not known.",
    _published("test"),
)
PUBLISHED_VALIDATION = Column(
    "From published validation, points",
    "the same against the published validation accuracy: other images, so not like against like.",
    _published("validation"),
)
LOSS = Column(
    "Cross-entropy",
    "mean of minus the natural logarithm of the probability given to the right class; lower is "
    "better.",
    lambda r: text.decimals(r["cross_entropy"], 4),
)
LOSS_DIFFERENCE = Column(
    "Cross-entropy from baseline",
    "cross-entropy minus the baseline's; it has no interval, because rows keep only its mean.",
    lambda r: text.decimals(r["cross_entropy_difference"], 4, "+"),
)
PARAMS = Column(
    "Parameters",
    "numbers in the Keras model, statistics of BatchNormalization included.",
    lambda r: text.count(r["params"]),
)
WON = Column(
    "Wrong to right",
    "images that the baseline gets wrong and the row right; accuracy shows only how these differ "
    "in number from those of the next column.",
    lambda r: text.count(r["won"]),
)
LOST = Column(
    "Right to wrong",
    "images that the baseline gets right and the row wrong: what shipping the row would break.",
    lambda r: text.count(r["lost"]),
)
WORST = Column(
    "Worst class, points",
    "the class that lost most against the baseline, and by how much its share of right answers changed.",
    lambda r: (
        text.MISSING
        if r["worst_class"] is None
        else f"{r['worst_class']} {text.points(r['worst_class_change'], '+')}"
    ),
)
CONFUSION = Column(
    "New confusion",
    "the class and the wrong answer for it whose images grew most in number against the baseline.",
    lambda r: r["confusion"] or text.MISSING,
)
CALIBRATION = Column(
    "ECE, %",
    "expected calibration error (Naeini et al. 2015, Guo et al. 2017, 15 bins): how far on the mean the probability of "
    "the most likely class is from how often it is right.",
    lambda r: text.points(r["ece"]),
)
# Columns that `Measurement` declares at its fields, by field name.
MEASURED = {
    field.name: Column(field.metadata["heading"], field.metadata["note"], _measured(field.name))
    for field in fields(Measurement)
    if field.metadata
}
FILE = Column(
    "File",
    "size of the exported `.tflite` file (1 KB = 1000 bytes), and in brackets its share of the "
    "baseline's; zeros do not make it smaller.",
    _size("file"),
)
GZIP = Column(
    "gzip",
    "size of that file after `gzip -9`, where zeros and repeated values do count, and its share of "
    "the baseline's.",
    _size("gzip"),
)
TIME = Column(
    "Time",
    "time for an image as a share of the main baseline's, with its 95 % interval, where `compress latency` "
    "compared the two files; a ratio of one processor says nothing of another.",
    lambda r: (
        text.MISSING
        if r["latency"] is None
        else f"{text.percent(r['latency'])} ({text.percent(r['latency_low'])} to {text.percent(r['latency_high'])})"
    ),
)
SECONDS = Column(
    "Seconds",
    "wall time of the row's last stage and its export, or of all epochs of a training; measuring "
    "is not included, and only rows of one machine compare.",
    lambda r: text.MISSING if r["seconds"] is None else f"{r['seconds']:,.1f}",
)
MEMORY = Column(
    "Peak memory",
    "the most main memory the process held up to the end of this row (1 GB = 1000 MB).",
    lambda r: (
        text.MISSING if r["peak_memory_bytes"] is None else f"{r['peak_memory_bytes'] / 1e9:.2f} GB"
    ),
)

# The columns that most readers want, and the rest.
BRIEF = (MODEL, TOP1, DIFFERENCE, SAME, FILE, GZIP, RUN)
MORE = (
    OF, DATA, SEED, P, CONTROLS, PUBLISHED_TEST, PUBLISHED_VALIDATION, LOSS, LOSS_DIFFERENCE, WON, LOST, WORST,
    CONFUSION, CALIBRATION, PARAMS, *MEASURED.values(), TIME, SECONDS, MEMORY,
)  # fmt: skip
ALL = (*BRIEF, *MORE)
