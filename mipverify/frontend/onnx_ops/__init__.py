"""How each ONNX operator becomes operators of a graph."""
