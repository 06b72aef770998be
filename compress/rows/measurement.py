"""Measurement: the numbers of one measured file, each checked against its range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from compress.rows import bits
from compress.rows.field_check import (
    LARGEST,
    AtLeastOne,
    Between,
    Count,
    Digest,
    Fraction,
    Name,
    NotNegative,
    check,
)

# The largest rounding error of a fraction.
ROUNDING = 1e-9


RUNS = "runs"  # `on_micro` of a file that TFLM, the interpreter for microcontrollers, can run
MeasuredOn = Literal["test", "validation"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The measurement of an exported file on the images of a split. Fractions are in [0, 1].

    A field whose metadata have a heading and a note of one sentence is a column of the report.

    Raises:
      ValueError: a field does not have its annotated type or range, or contradicts another field.
    """

    top1: Fraction
    top1_low: Fraction  # 95 % Wilson interval
    top1_high: Fraction
    cross_entropy: NotNegative  # mean, natural logarithm
    test_images: AtLeastOne  # how many images it was measured on
    correct: str  # which images were right, in the order of the split: see `bits.pack_bits`
    stored_params: Count = field(
        metadata={
            "heading": "Stored",
            "note": "numbers in the weights and biases of the exported file, BatchNormalization being folded in.",
        }
    )
    nonzero_params: Count = field(
        metadata={"heading": "Not zero", "note": "those of the stored numbers that are not zero."}
    )
    sparsity: Fraction = field(
        metadata={
            "heading": "Sparsity",
            "note": "share of kernel weights that are zero, all kernels together; biases do not count.",
        }
    )
    kernel_sparsity: dict[str, Fraction]  # tensor name -> sparsity of that kernel
    macs: Count = field(
        metadata={
            "heading": "MACs",
            "note": "multiply-accumulates for one image, zeros being multiplied like any number.",
        }
    )
    # A file with an input, a kernel and scores has at least 100 bytes; a gzip stream has at least 20.
    file_bytes: Annotated[int, Between(100, LARGEST)]
    gzip_bytes: Annotated[int, Between(20, LARGEST)]  # after gzip -9
    weight_types: dict[str, Count]  # type -> how many numbers are stored in it
    tflite_digest: Digest  # of the file
    # From the size ledger of the file, see tflite/ledger.py; None in rows that are older than the ledger.
    file_parts: dict[str, Count] | None = (
        None  # what bytes are for -> how many; the sum is file_bytes
    )
    coded_bytes: dict[str, Count] | None = None  # "xz": after xz; "entropy": the entropy bound
    zstd_bytes: Count | None = field(
        default=None,
        metadata={
            "heading": "zstd",
            "note": "bytes of the file after zstd at its highest level, 22.",
        },
    )
    weight_coding: dict[str, NotNegative] | None = (
        None  # of kernels: bits per weight, distinct weights
    )
    # Results on TFLM, the interpreter for microcontrollers; None if TFLM was not tried.
    on_micro: Name | None = None  # RUNS, or why the file does not run and what to do
    arena_bytes: Count | None = field(
        default=None,
        metadata={
            "heading": "Arena",
            "note": "RAM in bytes that TFLM, the interpreter for microcontrollers, takes to run the file, as measured "
            "on x86-64 with its reference kernels.",
        },
    )
    arena_parts: dict[str, Count] | None = (
        None  # "head", which activations share in turn, and "tail", which is permanent; the sum is arena_bytes
    )
    micro_top1: Fraction | None = None  # in TFLM's arithmetic, on the same images
    micro_disagreements: Count | None = None  # images that TFLM and LiteRT classify differently
    measured_on: MeasuredOn = "test"  # validation images were used to make the model

    def __post_init__(self) -> None:
        check(self, contradictions(self))

    @property
    def lacks_micro_accuracy(self) -> bool:
        """True if the accuracy on TFLM is not known, and the file runs on TFLM or was not tried there."""
        return self.micro_top1 is None and self.on_micro in (None, RUNS)


def contradictions(measured: Measurement) -> Iterator[tuple[str, str]]:
    """(field, what was expected) for each field that other fields contradict."""
    try:
        right = int(bits.unpack_bits(measured.correct, measured.test_images).sum())
    except ValueError:
        yield "correct", bits.expected(measured.test_images)
        return
    if abs(measured.top1 - right / measured.test_images) > ROUNDING:
        yield ("top1", f"{right} of {measured.test_images}, as many as 'correct' marks")
    if measured.top1_low > measured.top1 + ROUNDING:
        yield ("top1_low", f"at most top1, {measured.top1}")
    if measured.top1_high < measured.top1 - ROUNDING:
        yield ("top1_high", f"at least top1, {measured.top1}")
    if measured.nonzero_params > measured.stored_params:
        yield ("nonzero_params", f"at most stored_params, {measured.stored_params}")
    if sum(measured.weight_types.values()) != measured.stored_params:
        yield ("weight_types", f"numbers that add up to stored_params, {measured.stored_params}")
    if measured.file_parts is not None and sum(measured.file_parts.values()) != measured.file_bytes:
        yield ("file_parts", f"numbers that add up to file_bytes, {measured.file_bytes}")
    if (measured.arena_bytes is None) != (measured.arena_parts is None) or (
        measured.arena_parts and sum(measured.arena_parts.values()) != measured.arena_bytes
    ):
        yield ("arena_parts", f"numbers that add up to arena_bytes, {measured.arena_bytes}")
    if (measured.arena_bytes is not None) != (measured.on_micro == RUNS):
        yield ("arena_bytes", f"a number if, and only if, on_micro is {RUNS!r}")
    # Deflate shrinks 1,032 bytes to one at best, and stores incompressible bytes with a small overhead.
    least, most = (
        measured.file_bytes // 1032,
        measured.file_bytes + measured.file_bytes // 1000 + 64,
    )
    if not least <= measured.gzip_bytes <= most:
        yield ("gzip_bytes", f"{least} to {most} for a file of {measured.file_bytes} bytes")
