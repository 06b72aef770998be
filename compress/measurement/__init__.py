"""Numbers of a model: whole, from the exported file and the test images, and layer by layer.

`measure` is the only reader of the test set. Start there.
"""
