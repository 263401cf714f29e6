"""What exists only for training on processors: memory settings, process counts and faster kernels."""
