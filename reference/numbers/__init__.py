"""The kinds of number that a formula may be computed with.

Floats of any precision are NumPy's own. `half.py` has numbers of 16 bits, `balls.py` sets that
provably hold the exact result, `bounded.py` values with the bound of what a correct program may
stray from them, and `tape.py` numbers that remember how they were made. What every kind understands
beside arithmetic stands in `protocol.py` (the hints that formulas give), `moves.py` (what only
moves numbers), `contraction.py` and `sums.py`.
"""
