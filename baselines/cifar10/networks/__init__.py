"""Networks for CIFAR-10: the baseline and others. The `build` method of each gives a Keras model that returns logits.

A module defines an architecture and its options. Nothing here loads data or trains. Start at `plain`.
"""
