"""JAX's compiled programs, which JAX keeps in a folder of the cache: machine code of this machine.

It reads and writes them itself (`jax_compilation_cache_dir`), under keys of the program and of JAX,
but not of the processor. So each machine has a folder, and what is not as it was kept is removed
before a backend is started: half a file, say, of a report that was ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from backproof.report.running.cache import PROGRAMS, Cache, digest_of_file, key_of, machine
from backproof.report.running.isolation import EMPTY

WHERE = "JAX_COMPILATION_CACHE_DIR"
WHICH = {  # not the single operations of `jax-eager`
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}


@contextmanager
def kept_programs(cache: Cache | None) -> Iterator[Mapping[str, str]]:
    """Yield the variables by which JAX keeps its programs, and note in the end what they are.

    There are none without a cache, or where the user has named a folder for JAX.
    """
    if cache is None or WHERE in os.environ:
        yield EMPTY
        return
    features = np.show_config("dicts").get("SIMD Extensions")
    key = key_of("programs", machine(), features)
    folder = cache.folder / PROGRAMS / key
    with suppress(OSError):  # JAX says in its log what it can't read or write
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = cache.get(key, dict[str, str]) or {}
        for name, digest in _digests(folder).items():
            if known.get(name) != digest:
                (folder / name).unlink(missing_ok=True)
    yield {WHERE: str(folder)} | WHICH
    with suppress(OSError):
        cache.put(key, _digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by its name."""
    found = {path.name: digest_of_file(path) for path in folder.iterdir()}
    return {name: digest for name, digest in found.items() if digest}
