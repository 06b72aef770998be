"""Rows: the numbers of one measured model, held to their ranges, and what it takes to repeat them.

Nothing here measures or draws; the report is made from rows alone. A row is never edited. Start at `result`.
"""
