"""Problem and Trajectory → Judgement, and what came of all backends together."""
