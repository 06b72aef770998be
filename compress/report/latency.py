"""How long models take for an image against their baseline: rows of `compress latency` beside rows of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from compress.report import front
from compress.report.compare import SECTION, Record
from compress.rows.latency import LatencyRow

FIELDS = ("latency", "latency_low", "latency_high", "latency_on")


def put(lines: Sequence[Record], times: Sequence[LatencyRow]) -> None:
    """Give the records of each section whose files were timed against its main baseline their share of that time.

    Files are known by their digests. Ratios of two processors say different things, so only those of one count in a
    section: the one that most of its files were timed on. Of two timings of a file the later counts.
    """
    timed: dict[str, list[LatencyRow]] = {}  # digest of the first file -> comparisons
    for row in times:
        if row.ratio is not None:
            timed.setdefault(row.files[0]["digest"], []).append(row)
    parts: dict[tuple[str, ...], list[Record]] = {}
    for r in lines:
        if r["kind"] != "reference":
            parts.setdefault(tuple(r[field] for field in SECTION), []).append(r)
    for part in parts.values():
        base = front.main_baseline(part)
        if base and base["tflite_digest"] in timed:
            _put(part, base, timed[base["tflite_digest"]])


def _put(part: Sequence[Record], base: Record, times: Sequence[LatencyRow]) -> None:
    digests = {r["tflite_digest"] for r in part}
    known = [row for row in times if row.files[1]["digest"] in digests]
    places = Counter(_place(row) for row in known)
    if not places:
        return
    place = max(places, key=lambda p: places[p])
    found = {row.files[1]["digest"]: row for row in known if _place(row) == place}
    for r in part:
        row = found.get(r["tflite_digest"])
        ends = (row.ratio, row.ratio_low, row.ratio_high) if row else None
        if r["tflite_digest"] == base["tflite_digest"]:
            ends = (1.0, 1.0, 1.0)
        if ends:
            r |= dict(zip(FIELDS, (*ends, place), strict=True))


def _place(row: LatencyRow) -> str:
    sets = ", ".join(row.instruction_sets) or "none of the known instruction sets"
    return f"{row.machine}, with {sets}: {row.engine}"
