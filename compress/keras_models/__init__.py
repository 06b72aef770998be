"""Keras models as values: their graph, their layers, their batch normalization.

This package imports no training, tfmot, data or task. Start at `model`. A new kind of layer is a row of `layer_kinds`.
"""
