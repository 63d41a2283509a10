"""What each backend says of itself, in its own process."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from backproof.backends.registry import BACKENDS, describe, label
from backproof.report.running.cache import Cache, code, key_of
from backproof.report.running.isolation import JUDGE, DiedError
from backproof.report.running.job import ready
from backproof.report.running.sites import Site


class Settings:
    """What each backend says of itself; to ask for it starts its process, all of them at once."""

    def __init__(self, names: Sequence[str], site: Site, cache: Cache | None):
        self.names, self.cache = names, cache
        ours = [name for name in names if cache and name in BACKENDS]
        self.keys = {name: key_of("settings", name, *code(BACKENDS[name])) for name in ours}
        kept = {name: cache.get(key, dict[str, str]) for name, key in self.keys.items()}
        self.rows = {name: row for name, row in kept.items() if row}
        new = [name for name in names if name not in self.rows]
        self.judge = {site.call(JUDGE, ready): JUDGE} if new else {}
        self.backends = {site.call(name, describe, name): name for name in new}

    def asked(self) -> dict[Future, str]:
        """Return what has not answered yet: the kinds of the workers that are being started."""
        futures = self.judge | self.backends
        return {future: kind for future, kind in futures.items() if not future.done()}

    def told(self) -> list[dict[str, str]]:
        """Return the rows of the backends that have answered."""
        for future, name in self.backends.items():
            if future.done() and not future.cancelled():
                self.rows[name] = self._answer(name, future)
        there = [name for name in self.names if name in self.rows]
        return [self.rows[name] | {"backend": label(name)} for name in there]

    def _answer(self, name: str, future: Future) -> dict[str, str]:
        """Return what a backend has said, and keep it, or why it has not."""
        try:
            row = future.result()
        except DiedError as death:
            return {"backend": label(name), "packages": death.message}
        if name in self.keys:
            self.cache.put(self.keys[name], row)
        return row
