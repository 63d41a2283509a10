"""Who runs a problem.

A backend is one module with the function `run(problem) -> Trajectory`, and one line in the table
below. Beside it stand `PACKAGES`, whose versions belong into a report, and `settings()`, a mapping
of how it computes (`threads`, `x64`, ...). What it owes:

- It starts from `problem.parameters`, takes the batches of `problem.batches` in their order, and
  leaves on record what `trajectory.py` lists, at the steps of `problem.recorded`.
- What is on record is, bit for bit, what the next operation consumed: a compiler must not compute
  it a second time in another way.
- Every number is of `problem.dtype`, and computed in it.
- It uses its framework as that framework's users would. It does not import `reference/` (only the
  adapter does) nor a backend of another framework: that they are independent of each other is what
  the comparison is worth.
- What it can't express it refuses with `Unsupported` and the reason; it never computes something
  similar instead.

Somebody's own code needs no place in the table: `mine=path/to/file.py:function` names it
(`users_code.py`), and an installed package adds backends by the entry points of the group
`backproof.backends`, each a module like those here or a function like theirs. What such code
returns may be any mapping of arrays, of any framework (`returned.py`).

A framework may be there in several modes, `torch-compile` beside `torch`, which share its folder:
the same tables, executed in another way. Modules are imported when they are asked for, so that a
missing framework hurts nobody else.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import re
from pathlib import Path
from typing import Any

BACKENDS = {
    "numpy": "backproof.backends.numpy_reference",
    "torch": "backproof.backends.torch_autograd",
    "jax": "backproof.backends.jax_autograd",
    "torch-compile": "backproof.backends.torch_autograd.compiled",
    "jax-eager": "backproof.backends.jax_autograd.eager",
}
DEFAULT = ("numpy", "torch", "jax")  # the others run when they are asked for

ENTRY_POINTS = "backproof.backends"


class Unsupported(Exception):  # noqa: N818, a verdict rather than an error
    """The backend cannot express the case; the message says why."""


class Missing(Exception):  # noqa: N818, a verdict rather than an error
    """The backend's packages, or what they need, are not installed."""


def known() -> dict[str, str]:
    """Return the modules of all backends by name: those above, and those of installed packages."""
    entries = importlib.metadata.entry_points(group=ENTRY_POINTS)
    added = {entry.name: entry.value for entry in entries if entry.name not in BACKENDS}
    return BACKENDS | dict(sorted(added.items()))


def chosen(text: str) -> str:
    """Return the text if it names a backend: a known one, or `NAME=PLACE` of one's own.

    Raises:
        ValueError: if it does not; the message says what was expected.
    """
    from backproof.backends import users_code

    name, equals, where = text.partition("=")
    if not equals and name not in BACKENDS and name not in known():
        expected = f"{', '.join(known())}, or NAME=FILE.py:FUNCTION"
        raise ValueError(f"unknown backend {name!r}; expected {expected}")
    if equals:
        free_name(name)
        users_code.place(where)
    return text


def free_name(name: str) -> str:
    """Return the name if a backend or a run of one's own may have it.

    Raises:
        ValueError: if it is not one, or another backend has it.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,29}", name):
        rule = "a name begins with a letter, with letters, digits, - _ and . behind it"
        raise ValueError(f"{rule}; found {name!r}")
    if name in known():
        raise ValueError(f"{name} is the name of another backend; choose one of your own")
    return name


def label(name: str) -> str:
    """Return what a backend is called in reports: `mine` of `mine=path/to/file.py:function`."""
    return name.partition("=")[0]


def framework(name: str) -> str:
    """Return whose formulas a backend runs, `torch` of `torch-compile`: modes are one witness."""
    return label(name).partition("-")[0]


def backend(name: str) -> Any:
    """Return the module of a backend, or what has the same functions.

    Raises:
        Missing: if one of its packages can't be imported; the message names it.
        WrongReturn: if it is a function of one's own that is not there, or takes something else.
    """
    from backproof.backends import users_code

    name, own, where = name.partition("=")
    where = where or BACKENDS.get(name) or known()[name]
    try:
        if name in BACKENDS and not own:
            return importlib.import_module(where)
        reference = importlib.import_module(BACKENDS["numpy"])
        if ":" in where:
            return users_code.load(users_code.place(where), reference)
        return users_code.of_module(importlib.import_module(where), reference)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "backproof":
            raise
        raise Missing(f"{_missing(name, where, error.name or 'a module')}: {error}") from None


def _missing(name: str, where: str, package: str) -> str:
    """Say what can't be imported: the place of a backend, or a package that the code needs."""
    module = where.rpartition(":")[0] or where
    if name in BACKENDS:
        return f"the backend {name} is not installed"
    if f"{module}.".startswith(f"{package}."):
        return f"there is no module {module}"
    return f"{module} can't import {package}"


def describe(name: str) -> dict[str, str]:
    """Return `backend`, `packages` and the settings; `packages` tells why a backend is missing."""
    if label(name) != name:
        return {"backend": label(name), "packages": f"{name.partition('=')[2]}{_print_of(name)}"}
    from backproof.backends.trajectory import WrongReturn

    try:
        module = backend(name)
        found = versions(*getattr(module, "PACKAGES", ()))
        packages = ", ".join(f"{package} {version}" for package, version in found.items())
        settings = getattr(module, "settings", dict)()
        return {"backend": name, "packages": packages or known()[name], **settings}
    except (Missing, WrongReturn) as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001, a broken installation may raise anything
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return {"backend": name, "packages": why}


def _print_of(name: str) -> str:
    """Return the beginning of the file's SHA-256: it tells which version of it was judged."""
    file = Path(name.partition("=")[2].rpartition(":")[0]).expanduser()
    if not file.is_file():
        return ""
    return f" (SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()[:12]})"


def versions(*packages: str) -> dict[str, str | None]:
    """Return the installed version of each package, None where it is missing."""
    found = ((name, [*importlib.metadata.distributions(name=name)]) for name in packages)
    return {name: here[0].version if here else None for name, here in found}
