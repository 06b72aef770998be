"""Magnitude pruning with tfmot, then int8 by the converter: `python tfmot_prune.py DATA MODEL OUT --sparsity 0.8`."""

import common
from tensorflow_model_optimization.sparsity import keras as sparsity

asked = common.arguments(sparsity=0.5)
splits = common.read(asked)
steps = max(1, len(splits["train"][0]) // common.BATCH * asked.epochs)
pruned = sparsity.prune_low_magnitude(
    common.baseline(asked.model),
    pruning_schedule=sparsity.PolynomialDecay(0.0, asked.sparsity, 0, max(1, steps * 3 // 4)),
)
common.train(pruned, splits, asked.epochs, callbacks=[sparsity.UpdatePruningStep()])
asked.out.write_bytes(common.int8(sparsity.strip_pruning(pruned), splits["train"][0]))
