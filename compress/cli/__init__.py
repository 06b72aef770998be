"""The command line: words to objects, errors to sentences.

Nothing but `__main__` imports from here, and only `main` exits. `--help` must stay free of TensorFlow, so
what a command does is in `commands`, imported when it runs. Start at `main`.
"""
