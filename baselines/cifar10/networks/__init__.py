"""Networks for CIFAR-10: the baseline, and others as frozen options whose `build` gives a Keras model of logits.

Architectures, and how their source trains them; nothing here loads data or trains. Start at `plain`.
"""
