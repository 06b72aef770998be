"""Write, slim, parse and describe `.tflite` files, match their kernels to Keras layers, and run them.

Files run in a separate process. This package does not import `keras_models`. Start at `contents`.
"""
