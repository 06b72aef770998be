"""Workers: more processes at work on what one command is about, on this machine or as tasks of a Ray cluster.

This package knows no search and no pipeline, only the words that start a worker. Only it names Ray. Start at `drive`.
"""
