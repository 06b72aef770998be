"""Int8 after training by TensorFlow's converter: python converter_int8.py DATA MODEL OUT"""

import common

asked = common.arguments()
images, _ = common.read(asked.data)["train"]
asked.out.write_bytes(common.int8(common.baseline(asked.model), images))
