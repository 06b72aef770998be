"""Numbers of a model: of the exported file, on the test images, and of each layer.

Only `measure` measures on the test images. Start there.
"""
