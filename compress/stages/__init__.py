"""One file a stage: its options and what it does to a model.

A stage knows no other stage, no run folder, no command line and no concrete task; its arithmetic lives in the packages
named for it (pruning, quantization, tfmot). Start at `finetune`, the smallest.
"""
