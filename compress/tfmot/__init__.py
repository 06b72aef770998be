"""The only package that uses tf_keras and tfmot: a Keras 3 model in, a Keras 3 model out.

No other package names those two libraries. Start at `bridge`.
"""
