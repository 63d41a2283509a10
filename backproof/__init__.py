"""Prove hand-written backpropagation, PyTorch and JAX against each other and against the exact result.

    import backproof

    backproof.certify_case("case.yaml", my_gradients)

The names below are imported when they are asked for: `import backproof` alone costs next to nothing.
"""

from importlib import import_module
from pathlib import Path

PLACES = {
    "certify_case": "backproof.certify",
    "NotCertified": "backproof.certify",
    "Case": "backproof.cases.format.schema",
    "InvalidCase": "backproof.cases.reading.load",
    "load": "backproof.cases.reading.load",
    "Problem": "backproof.cases.problem",
    "materialise": "backproof.cases.problem",
    "Trajectory": "backproof.backends.trajectory",
    "Missing": "backproof.backends.registry",
    "Unsupported": "backproof.backends.registry",
    "Judgement": "backproof.report.judging.judge",
    "judge": "backproof.report.judging.judge",
    # what a layer, a loss or an optimizer of one's own is made of (docs/extending.md)
    "LayerConcept": "backproof.cases.format.layers.layer",
    "Criterion": "backproof.cases.format.losses",
    "Updating": "backproof.cases.format.optimizers",
    "Name": "backproof.cases.format.concept",
    "Count": "backproof.cases.format.concept",
    "Positive": "backproof.cases.format.concept",
    "Share": "backproof.cases.format.concept",
    "beside": "backproof.reference.formulas.positions",
    "contract": "backproof.reference.numbers.contraction",
    "gather": "backproof.reference.numbers.moves",
    "elementary": "backproof.reference.numbers.protocol",
    "positive": "backproof.reference.numbers.protocol",
}
__all__ = [*PLACES]  # noqa: PLE0604, the names as they are

if not Path(__file__).with_name("cases").is_dir():  # in a checkout the folders lie beside this one
    __path__.append(str(Path(__file__).resolve().parents[1]))


def __getattr__(name: str):
    """Import a public name."""
    if name not in PLACES:
        raise AttributeError(f"module 'backproof' has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PLACES})
