"""Int8 post-training quantization by TensorFlow's converter: `python converter_int8.py DATA MODEL OUT`."""

import common

asked = common.arguments()
images, _ = common.read(asked)["train"]
with common.converter_of(asked.model) as converter:
    asked.out.write_bytes(common.in_int8(converter, images))
