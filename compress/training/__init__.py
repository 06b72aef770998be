"""The one training loop, its batches, its losses and the checkpoint that it saves after each epoch.

This package knows no task, no stage and no report. Start at `fit`.
"""
