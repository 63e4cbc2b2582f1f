"""What runs the network: the engines, the choice between them, and the export to ONNX."""
