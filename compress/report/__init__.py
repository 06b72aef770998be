"""Rows, published references and pictures: a pure function of rows.

The only door to pandas, matplotlib and altair; runs no model. Start at `pages`.
"""
