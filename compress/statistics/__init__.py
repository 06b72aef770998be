"""Statistics: intervals, tests of differences, and calibration. Numbers in, numbers out; no rows, no models.

`significance` has intervals and tests, `paired` compares two models on the same images, and `calibration` compares
probabilities with accuracy.
"""
