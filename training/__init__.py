"""Learning what normal looks like: data in, a calibrated and checked `.onnx` model file out."""
