"""Trained models that ship with this package, each with its row.

`folders` names their folders. Start at `compress zoo`, which lists the models.
"""
