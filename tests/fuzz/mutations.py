"""Random damage to bytes, JSON and members of archives; the same seed gives the same files."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

# Wrong values that are likely to have an effect.
VALUES = (
    *(None, True, 0, -1, 1, 2, 31, 2**31 - 1, 2**63, 10**400, 0.5, float("nan"), float("inf"), [], {}, [[]]),
    *("", "x", "\x1b[2J", "../..", "float16", "relu", "Dense", "a" * 10_000, [0] * 40, [-1, 2**40]),
    {"class_name": "Dense"},
)  # fmt: skip


def _flip(content: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        content[random.randrange(len(content))] = random.randrange(256)


def _cut(content: bytearray, random: Random) -> None:
    del content[random.randrange(len(content)) :]


def _take_out(content: bytearray, random: Random) -> None:
    begin = random.randrange(len(content))
    del content[begin : begin + random.choice((1, 4, 100, 5000))]


def _put_in(content: bytearray, random: Random) -> None:
    begin, source = random.randrange(len(content)), random.randrange(len(content))
    content[begin:begin] = content[source : source + random.choice((1, 4, 100, 5000))]


def _number(content: bytearray, random: Random) -> None:
    """Overwrite a few bytes with a number, as if they were a length or an offset."""
    size = random.choice((1, 2, 4, 8))
    begin = random.randrange(len(content)) // size * size
    most = 2 ** (8 * size)
    value = random.choice(
        (0, 1, most - 1, most // 2, most // 2 - 1, len(content), random.randrange(most))
    )
    content[begin : begin + size] = (value % most).to_bytes(size, "little")


BYTES: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip,
    _cut,
    _take_out,
    _put_in,
    _number,
    _number,
)


def worse_bytes(content: bytes, random: Random) -> bytes:
    """The content with one or two kinds of damage; the result may be unchanged."""
    worse = bytearray(content)
    for _ in range(random.choice((1, 1, 2))):
        if worse:
            random.choice(BYTES)(worse, random)
    return bytes(worse)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def worse_json(config: Any, random: Random) -> Any:
    """A copy in which a few values are replaced, removed, repeated or copied to other places."""
    worse = copy.deepcopy(config)
    for _ in range(random.choice((1, 1, 2, 4))):
        places = list(_places(worse))
        if not places:
            break
        parent, key = random.choice(places)
        way = random.randrange(5)
        if way == 0 and isinstance(parent, dict):
            del parent[key]
        elif way == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif way == 2:
            other, at = random.choice(places)
            if at in other if isinstance(other, dict) else at < len(other):
                parent[key] = copy.deepcopy(other[at])
        else:
            parent[key] = copy.deepcopy(random.choice(VALUES))
    return worse


def worse_archive(content: bytes, random: Random) -> bytes:
    """A `.keras` archive or an `.npz` with one damaged member and correct check sums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(sorted(members))
    if name.endswith(".json") and random.random() < 0.7:
        members[name] = json.dumps(worse_json(json.loads(members[name]), random)).encode()
    else:
        members[name] = worse_bytes(members[name], random)
    with io.BytesIO() as held:
        packing = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(held, "w", packing) as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        return held.getvalue()


def worse_files(
    content: bytes, count: int, seed: int, worse: Callable[[bytes, Random], bytes] = worse_bytes
) -> Iterator[bytes]:
    """`count` damaged versions of one file, each with its own seed."""
    for number in range(count):
        yield worse(content, Random(f"{seed}/{number}"))
