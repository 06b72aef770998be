"""Rounding of weights and activations to few bits, and export of files that store them.

Models for quantization-aware training are built here (`qat_model`) and in `tfmot`. Nothing here runs a training loop.
Start at `int4`.
"""
