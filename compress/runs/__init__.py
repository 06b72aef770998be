"""Runs: their context, folders, keys and listing, and the provenance of their rows.

This package draws no plots and prints nothing. Start at `context`.
"""
