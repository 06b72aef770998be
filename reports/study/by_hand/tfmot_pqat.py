"""Pruning, then quantization-aware training that keeps the zeros, with tfmot: `python tfmot_pqat.py DATA MODEL OUT`."""

import common
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
    default_8bit_prune_preserve_quantize_scheme as scheme,
)
from tensorflow_model_optimization.quantization import keras as quantization
from tensorflow_model_optimization.sparsity import keras as sparsity

asked = common.arguments(sparsity=0.5, qat_epochs=6)
splits = common.read(asked)
steps = max(1, len(splits["train"][0]) // common.BATCH * asked.epochs)
pruned = sparsity.prune_low_magnitude(
    common.baseline(asked.model),
    pruning_schedule=sparsity.PolynomialDecay(0.0, asked.sparsity, 0, max(1, steps * 3 // 4)),
)
common.train(pruned, splits, asked.epochs, callbacks=[sparsity.UpdatePruningStep()])
annotated = quantization.quantize_annotate_model(sparsity.strip_pruning(pruned))
with tf_keras.utils.custom_object_scope({}):
    aware = quantization.quantize_apply(annotated, scheme.Default8BitPrunePreserveQuantizeScheme())
common.train(aware, splits, asked.qat_epochs, rate=0.002)
asked.out.write_bytes(common.int8(aware))
