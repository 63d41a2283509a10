"""Ordinary training loops in JAX: recorded by taps in the model, and by the optimizer of optax."""
