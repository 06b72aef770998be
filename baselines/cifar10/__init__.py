"""The CIFAR-10 task: its networks, its recipes, and its data in every format in which they are distributed.

The registry finds it by its entry point, like a user's own task. Start at `task`.
"""
