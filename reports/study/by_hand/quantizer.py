"""Quantization to int8 or int4 after training by ai-edge-quantizer: `python quantizer.py DATA MODEL OUT --bits 4`."""

import common
import tensorflow as tf
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.quantizer import Quantizer

asked = common.arguments(bits=8)
images, _ = common.read(asked)["train"]
with common.converter_of(asked.model) as converter:
    content = converter.convert()
quantizer = Quantizer(content)
every = qtyping.TFLOperationName
quantizer.add_static_config(".*", every.ALL_SUPPORTED, 8, 8)
if asked.bits == 4:
    quantizer.add_static_config(".*", every.CONV_2D, 8, 4)
runner = tf.lite.Interpreter(model_content=content).get_signature_list()
name = next(iter(runner), None)
(given,) = runner[name]["inputs"] if name else ("image",)
ranges = quantizer.calibrate({name: [{given: image[None]} for image in images[:500]]})
asked.out.write_bytes(bytes(quantizer.quantize(ranges).quantized_model))
