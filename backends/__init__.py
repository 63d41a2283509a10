"""Who runs a problem: `registry.py` has the table of the backends, and what a backend owes."""
