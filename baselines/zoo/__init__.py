"""Trained models that ship with this package, each with its row.

`folders` says where they are. Start at `compress zoo`, which lists them.
"""
