"""Who runs a problem.

A backend is one module with the function `run(problem) -> Trajectory`, and one line in the table below. Beside it stand
`PACKAGES`, whose versions belong into a report, and `settings()`, a mapping of how it computes (`threads`, `x64`, ...).
What it owes:

- It starts from `problem.parameters`, takes the batches of `problem.batches` in their order, and leaves on record what
  `trajectory.py` lists, at the steps of `problem.recorded`.
- What is on record is, bit for bit, what the next operation consumed: a compiler must not compute it a second time in
  another way.
- Every number is of `problem.dtype`, and computed in it.
- It uses its framework as that framework's users would. It does not import `reference/` (only the adapter does) nor
  a backend of another framework: that they are independent of each other is what the comparison is worth.
- What it can't express it refuses with `Unsupported` and the reason; it never computes something similar instead.

A framework may be there in several modes, `torch-compile` beside `torch`, which share its tables: the same formulas,
executed in another way. Modules are imported when they are asked for, so that a missing framework hurts nobody else.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType

BACKENDS = {
    "numpy": "backends.numpy_reference",
    "torch": "backends.torch_autograd",
    "jax": "backends.jax_autograd",
    "torch-compile": "backends.torch_compile",
    "jax-eager": "backends.jax_eager",
}
DEFAULT = ("numpy", "torch", "jax")  # the others run when they are asked for

OUR_OWN = ("backends", "cases", "reference", "report")


class Unsupported(Exception):  # noqa: N818, a verdict rather than an error
    """The backend cannot express the case; the message says why."""


class Missing(Exception):  # noqa: N818, a verdict rather than an error
    """The backend's packages, or what they need, are not installed."""


def framework(name: str) -> str:
    """Whose formulas a backend runs: what stands in front of the hyphen. All modes of it are one witness."""
    return name.partition("-")[0]


def backend(name: str) -> ModuleType:
    """The module of a backend.

    Raises:
        Missing: if one of its packages can't be imported; the message names it.
    """
    try:
        return importlib.import_module(BACKENDS[name])
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in OUR_OWN:
            raise
        raise Missing(f"the backend {name} is not installed: {error}") from None


def describe(name: str) -> dict[str, str]:
    """The versions and settings of one backend, or why it is missing."""
    try:
        module = backend(name)
        packages = ", ".join(f"{package} {version}" for package, version in versions(*module.PACKAGES).items())
        return {"backend": name, "packages": packages, **module.settings()}
    except Missing as error:
        return {"backend": name, "packages": str(error)}
    except Exception as error:  # noqa: BLE001, a broken installation may raise anything
        return {"backend": name, "packages": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def versions(*packages: str) -> dict[str, str | None]:
    """The installed version of each package, None where it is missing."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
