"""What each backend says of itself, in its own process."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from backproof.backends.registry import BACKENDS, describe, label
from backproof.report.running.cache import Cache, code, key_of
from backproof.report.running.isolation import JUDGE, DiedError
from backproof.report.running.job import ready
from backproof.report.running.sites import Site


@dataclass
class Started:
    """What is at work: what it is called, in which kind of worker, and since when."""

    name: tuple[str, ...]
    kind: str
    since: float | None = None


class Settings:
    """What each backend says of itself; to ask for it starts its process, all of them at once."""

    def __init__(self, names: Sequence[str], site: Site, cache: Cache | None):
        self.names, self.cache = names, cache
        ours = [name for name in names if cache and name in BACKENDS]
        self.keys = {name: key_of("settings", name, *code(BACKENDS[name])) for name in ours}
        kept = {name: cache.get(key, dict[str, str]) for name, key in self.keys.items()}
        self.rows = {name: row for name, row in kept.items() if row}
        new = [name for name in names if name not in self.rows]
        new = [JUDGE, *new] if new else []
        asked = {kind: (describe, kind) if kind != JUDGE else (ready,) for kind in new}
        calls = {kind: site.call(kind, *task) for kind, task in asked.items()}
        self.tasks = {future: Started((kind, "started"), kind) for kind, future in calls.items()}

    def unanswered(self) -> list[Future]:
        """Return what has not answered yet."""
        return [future for future in self.tasks if not future.done()]

    def starting(self) -> set[str]:
        """Return the kinds of which a worker is being started."""
        return {self.tasks[future].kind for future in self.unanswered()}

    def told(self) -> list[dict[str, str]]:
        """Return the rows of the backends that have answered."""
        for future, task in self.tasks.items():
            if task.kind != JUDGE and future.done() and not future.cancelled():
                self.rows[task.kind] = self._answer(task.kind, future)
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
