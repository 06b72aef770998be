"""Load untrusted model files: each is checked before Keras sees it.

Only data comes out of a file, never code. Start at `load`.
"""
