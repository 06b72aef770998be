"""Runs: their context, their folders, the list of them, their keys and the provenance of a row.

This package draws no figures and prints nothing. Start at `context`.
"""
