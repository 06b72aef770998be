"""What a `.tflite` file is on a microcontroller: TFLM, TensorFlow Lite's interpreter for microcontrollers, run here.

Nothing here knows Keras, tasks or data. Start at `interpreter`.
"""
