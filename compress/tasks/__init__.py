"""Tasks: the data of a problem, how to build a model for it and how to train the model.

The package has the task protocol, the view of a task that a stage gets, and the task `images` for the user's own data.
It names no data set. Start at `task`.
"""
