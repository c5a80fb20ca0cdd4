"""Training house of stillair's networks: data in, ONNX file and card out."""
