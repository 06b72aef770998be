"""The report: tables, published figures and pictures, made from rows alone.

Only this package imports matplotlib and altair, and only this package and `api` import pandas. It runs no model. Start
at `pages`.
"""
