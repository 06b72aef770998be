"""A task: a problem's data, how to build a model of it, how to train one.

The protocol, what a stage may see of a task, and the task `images`, which is anybody's data. No data set is named here.
Start at `task`.
"""
