"""The kinds of number that the formulas are computed with."""
