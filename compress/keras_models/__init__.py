"""Keras models as values: their graph, their layers, their batch normalization.

Imports no training, no tfmot, no data and no task. Start at `model`. A new kind of layers is a row of `layer_kinds`.
"""
