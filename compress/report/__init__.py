"""Rows, published references and pictures: a pure function of rows.

The only door to pandas and matplotlib; runs no model. Start at `pages`.
"""
