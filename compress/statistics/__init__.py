"""Statistics: how sure a figure is, and whether two of them differ. Numbers in, numbers out; no rows, no models.

`significance` has intervals and tests, `paired` two models on the same images, `calibration` probabilities.
"""
