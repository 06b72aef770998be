"""Images and labels: read from folders and .npz files, divided into splits.

This package imports no model and no task. Start at `images`.
"""
