"""Reading expressions in pictures: numpy, onnxruntime and Pillow, never torch."""
