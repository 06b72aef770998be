"""Model files that nobody vouches for, checked before Keras sees them.

Only data comes out of a file here, never code. Start at `load`.
"""
