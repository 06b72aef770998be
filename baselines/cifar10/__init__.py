"""The CIFAR-10 task: its network, recipes and data in every format it is handed round in.

Found by entry point, as a user's own task would be. Start at `task`.
"""
