"""Load untrusted model files: each file is checked before Keras sees it.

Only data is loaded from a file, never code. Start at `load`.
"""
