"""`compress data`: the splits of a task's data, and the leaks between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.cli import console
from compress.data import leakage
from compress.data.dataset import Dataset, Split
from compress.report import consistency, references
from compress.rows.jsonl import read_from
from compress.tasks.task import Task
from compress.text import printable


def show(
    task: Task, task_name: str, data: Path | None, check: bool, results: Path, as_json: bool
) -> bool:
    """Show the splits; with `check`, compare them. Return False if the check finds the same image in two splits.

    Test images are compared with the others by their pixels. No model sees them.
    """
    rows = read_from(results) if check and results.exists() else []
    dataset = task.load(data, console.progress().note)
    splits = {"train": dataset.train, "validation": dataset.validation}
    splits["test"] = dataset.open_test()
    record: dict[str, Any] = {
        "data": dataset.name,
        "images": {name: len(split) for name, split in splits.items()},
        "digests": {name: split.digest for name, split in splits.items()},
    }
    if check:
        if dataset.train.is_features:
            raise ValueError(
                f"{dataset.name} has no pixels from 0 to 255; --check compares images: leave out --mean and --std, or "
                "--check for features."
            )
        record["near_duplicates"] = _leaks(splits)
        own = [row for row in rows if row.task == task_name and row.data == dataset.name]
        published = references.read_references(task.references())
        record["validation_against_test"] = [
            *consistency.of_rows(own), *consistency.of_published(published, dataset.name),
        ]  # fmt: skip
    if as_json:
        console.say_json(record)
    else:
        _print(record, dataset)
    return not any(found["identical"] for found in record.get("near_duplicates", []))


def _leaks(splits: dict[str, Split]) -> list[dict[str, Any]]:
    """The near-duplicates of each split in the splits before it."""
    found = []
    for name, others in (("validation", ["train"]), ("test", ["train", "validation"])):
        for other in others:
            near = leakage.near_duplicates(splits[name].images, splits[other].images)
            found.append(
                {
                    "images": name,
                    "among": other,
                    "identical": len(near.identical),
                    "by_pixels": len(near.by_pixels),
                    "by_hash": len(near.by_hash),
                    "either": near.images,
                    "share": near.images / len(splits[name]),
                }
            )
    return found


def _print(record: dict[str, Any], dataset: Dataset) -> None:
    console.say(f"{printable(dataset.name)}, {len(dataset.classes)} classes")
    for name, images in record["images"].items():
        console.say(f"  {name}: {images:,} images, digest {record['digests'][name][:12]}")
    if "near_duplicates" not in record:
        return
    console.say("", "Near-duplicates:")
    for found in record["near_duplicates"]:
        console.say(
            f"  {found['images']} in {found['among']}: {found['either']:,} images, {100 * found['share']:.2f} %; "
            f"{found['identical']:,} identical, {found['by_pixels']:,} by pixel distance, "
            f"{found['by_hash']:,} by {leakage.HASH}"
        )
    hash_name, far = leakage.HASH, leakage.HASH_PIXEL_DISTANCE
    console.say(
        f"By pixel distance: a root mean square of at most {leakage.PIXEL_DISTANCE:g} of 255. "
        f"By {hash_name}: at most {leakage.HASH_BITS} of 64 bits, and at most {far:g} of 255.",
        "",
        "Validation against test:",
    )
    for line in record["validation_against_test"]:
        console.say(f"  {printable(consistency.sentence(line))}")
    if not record["validation_against_test"]:
        console.say("  no model was measured on both.")
