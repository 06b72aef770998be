"""Rounding to few bits, and writing files that store them.

Trains nothing; quantization-aware training is in `tfmot`. Start at `int4`.
"""
