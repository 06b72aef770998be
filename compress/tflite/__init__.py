"""`.tflite` files: written, made slim, parsed, described, matched to Keras layers, and run in a process of their own.

Knows no Keras model. Start at `contents`.
"""
