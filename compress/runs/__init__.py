"""Runs: what one shares, the folder it keeps its work in, the list of them, and where a row comes from.

Draws no figures and prints nothing. Start at `context`.
"""
