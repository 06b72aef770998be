"""One file per stage: its options and what it does to a model.

A stage does not know other stages, run folders, the command line or concrete tasks. Its arithmetic is in the packages
named for it (pruning, quantization, tfmot). Start at `finetune`, the smallest.
"""
