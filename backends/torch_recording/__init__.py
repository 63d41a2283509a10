"""Ordinary training loops in PyTorch: recorded by hooks, and read off their modules."""
