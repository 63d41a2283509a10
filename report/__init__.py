"""Judge it and tell it."""
