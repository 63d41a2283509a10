"""Layers that people write kernels of, as a package of its own adds them."""
