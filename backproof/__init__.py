"""Prove hand-written backpropagation, PyTorch and JAX against each other and the exact result.

    import backproof

    backproof.certify_case("case.yaml", my_gradients)

The names below are imported when they are asked for: `import backproof` alone costs little.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

NAMES = {
    "backproof.certify": "certify_case NotCertified",
    "backproof.certify_one": "certify_layer certify_loss certify_update certify_numbers Certified",
    "backproof.training": "certify_run certify_training",
    "backproof.backends.torch_recording.recorder": "record",
    "backproof.backends.torch_recording.lightning": "LightningRecorder",
    "backproof.backends.jax_recording.recorder": "record_jax tap",
    "backproof.cases.format.schema": "Case",
    "backproof.cases.reading.load": "InvalidCase load",
    "backproof.cases.problem": "Problem materialise",
    "backproof.backends.trajectory": "Trajectory",
    "backproof.backends.registry": "Missing Unsupported",
    "backproof.report.judging.judge": "Judgement judge",
    # what a layer, a loss or an optimizer of one's own is made of (docs/extending.md)
    "backproof.cases.format.layers.layer": "LayerConcept",
    "backproof.cases.format.losses": "Criterion",
    "backproof.cases.format.optimizers": "Updating",
    "backproof.cases.format.concept": "Name Count Positive Share",
    "backproof.reference.formulas.positions": "beside",
    "backproof.reference.numbers.contraction": "contract",
    "backproof.reference.numbers.moves": "gather",
    "backproof.reference.numbers.protocol": "elementary positive",
}
PLACES = {name: module for module, names in NAMES.items() for name in names.split()}
__all__ = [*PLACES]  # noqa: PLE0604, the names as they are

if not Path(__file__).with_name("cases").is_dir():  # in a checkout the folders lie beside this one
    __path__.append(str(Path(__file__).resolve().parents[1]))


def __getattr__(name: str) -> Any:
    """Import a public name and return it."""
    if name not in PLACES:
        raise AttributeError(f"module 'backproof' has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PLACES})
