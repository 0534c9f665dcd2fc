"""The passes that come with onnxprune, found by entry point like those of anyone else."""
