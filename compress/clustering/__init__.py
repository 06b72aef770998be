"""Choosing the few values that the weights of a kernel share: arithmetic on arrays.

What is true of weights that are shared already is asked of `compress.weight_sharing`. Start at `kmeans`.
"""
