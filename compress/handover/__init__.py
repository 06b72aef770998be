"""Handover of a measured model: a folder for firmware, and a row measured again. Start at `export` and `verify`.

Nothing here trains or compresses.
"""
