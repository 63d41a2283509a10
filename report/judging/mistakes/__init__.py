"""Known mistakes, a family a file: each says in words what went wrong, and computes what the tensors would then be."""
