"""Damaged zip archives for tests."""

from __future__ import annotations

import struct


def of_two_disks(archive: bytes) -> bytes:
    """The archive with a ZIP64 locator that claims a second disk."""
    end = archive.rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 2)
    return archive[:end] + locator + archive[end:]
