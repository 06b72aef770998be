"""Quantization-aware training with tfmot: `python tfmot_qat.py DATA MODEL OUT --epochs 6`."""

import common
from tensorflow_model_optimization.quantization import keras as quantization

asked = common.arguments()
splits = common.read(asked)
aware = quantization.quantize_model(common.baseline(asked.model))
common.train(aware, splits, asked.epochs, rate=0.002)
asked.out.write_bytes(common.int8(aware))
