"""Workers: several processes that do the work of one command, on this machine or as tasks of a Ray cluster.

This package knows no search and no pipeline, only the words that start a worker. No other package names Ray.
Start at `drive`.
"""
