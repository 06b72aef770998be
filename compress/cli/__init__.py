"""The command line: it turns words into objects, and errors into sentences.

Only `__main__` imports from this package, and only `main` exits. `--help` must not import TensorFlow, so the code of
each command is in a module that is imported when the command runs, such as `commands`. Start at `main`.
"""
