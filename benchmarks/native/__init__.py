"""Compiled libraries beside onnxruntime: the networks, a process for each runtime, and their turns."""
