"""The choice of the few values that the weights of a kernel share: arithmetic on arrays.

`compress.weight_sharing` is for weights that are shared already. Start at `kmeans`.
"""
