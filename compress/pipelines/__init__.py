"""Stages in order, checked before any work, run, and every prefix kept.

Knows stages only by what they take and give; no stage and no command line is named here. Start at `pipeline`.
"""
