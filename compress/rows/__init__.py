"""Rows: the checked numbers of one measured model, and everything needed to repeat the measurement.

This package neither measures nor draws; the report is made from rows alone. A row is never edited. Start at `result`.
"""
