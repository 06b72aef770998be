"""A `.tflite` file on a microcontroller, by TFLM, TensorFlow Lite's interpreter for microcontrollers, run here.

Nothing here uses Keras, tasks or data. Start at `interpreter`.
"""
