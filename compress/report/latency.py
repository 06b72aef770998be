"""Latency of models relative to their baseline: rows of `compress latency` joined to rows of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from compress.report import front
from compress.report.compare import SECTION, Record
from compress.rows.latency import LatencyRow

FIELDS = ("latency", "latency_low", "latency_high", "latency_on")


def put(lines: Sequence[Record], times: Sequence[LatencyRow]) -> None:
    """Set the relative latency of each record whose file was timed against the main baseline of its section.

    Files are identified by digest. Ratios from two machines or engines are not comparable, so a section uses only the
    machine and engine on which most of its files were timed. If a file was timed twice, the later timing counts.
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
    timed = dict.fromkeys((_place(row), row.files[1]["digest"]) for row in known)
    places = Counter(place for place, _ in timed)
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
