"""The one training loop, what feeds it, what it learns from and what it keeps after each epoch.

Knows no task, no stage and no report. Start at `fit`.
"""
