"""How runs are made and judged: jobs, in processes of their own, here or elsewhere."""
