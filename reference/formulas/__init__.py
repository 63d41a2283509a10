"""The formulas by hand: each forward rule beside its backward rule."""
