"""Pipelines: stages in order, checked before any work, with a kept run for every prefix.

This package knows a stage only by the formats it takes and gives. Start at `pipeline`.
"""
