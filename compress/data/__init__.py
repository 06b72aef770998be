"""Images and labels: read from folders and .npz files, dealt into splits.

Knows no model and no task. Start at `images`.
"""
