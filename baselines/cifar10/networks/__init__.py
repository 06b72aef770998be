"""Networks for CIFAR-10 besides the baseline: frozen options whose `build` gives a Keras model of logits.

Here are architectures and how their source trains them, nothing that loads data or trains. Start at `resnet`.
"""
