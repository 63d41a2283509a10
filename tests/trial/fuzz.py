"""`python -m tests.trial.fuzz 10000`: a campaign of random scenarios, in which no correct program may be refused.

The work is cut into units, each with a seed of its own. A finished unit is a line of `units.jsonl`, and is not run
again as long as the code and the packages are the same: an interrupted campaign goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, seed
from hypothesis import settings as profile
from hypothesis.errors import Flaky
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from backproof.backends.registry import DEFAULT, versions
from backproof.cases.console.command import run_command
from backproof.report.running.sites import UnreachableError, cluster
from tests.support.processes import processes
from tests.trial.scenarios import (
    FalseAlarm,
    Scenarios,
    judge_end_to_end,
    judge_everywhere,
    judge_on,
    scenarios,
    write_case,
)
from tests.trial.shrink import smallest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES_A_UNIT, MOST_ALARMS = 40, 10
FOUND, USAGE, INCOMPLETE = 1, 2, 3
PACKAGES = ("numpy", "scipy", "torch", "jax", "jaxlib", "optax", "hypothesis")
PROGRAMS = ("cases", "reference", "backends", "report")
VERDICTS = ("certified", "out of range", "nothing to compare")

# ---------------------------------------------------------------- a unit


def run_unit(number: int, examples: int, output: Path) -> dict:
    """Judge the scenarios of one seed on every backend: the counts, and the file of a finding."""
    import jax

    jax.clear_caches()
    start, counts, shapes, found = time.perf_counter(), Counter(), set(), []

    @seed(number)
    @profile(
        max_examples=examples, database=None, deadline=None, verbosity=Verbosity.quiet, report_multiple_bugs=False,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(scenarios())
    def hunt(drawn: Scenarios) -> None:
        try:
            verdicts = [judge_everywhere(case) for case in drawn.cases]
            for case in drawn.cases:
                counts.update(judge_end_to_end(case))
        except FalseAlarm as alarm:
            found.append(alarm)
            raise
        for case, verdict in zip(drawn.cases, verdicts, strict=True):
            counts.update([verdict, case["dtypes"][0], *kinds(case)])
        shapes.add(_digest(drawn.structure))

    with suppress(FalseAlarm, Flaky):  # flaky: refused, and not when tried again
        hunt()
    alarms = [_written(alarm, number, output) for alarm in found[:1]]
    seconds = time.perf_counter() - start
    return {"seed": number, "counts": counts, "shapes": sorted(shapes), "alarms": alarms, "seconds": round(seconds, 1)}


def kinds(case: dict) -> Iterator[str]:
    """What the case is made of, each kind once."""
    training = case.get("training", {})
    chosen = [*case["network"], case["loss"], *case.get("penalties", ()), training.get("optimizer", "no training")]
    chosen += [training[name] for name in ("clip", "schedule") if name in training]
    yield from {kind if isinstance(kind, str) else next(iter(kind)) for kind in chosen}
    yield from (name for name in ("tied", "frozen") if name in case)


def _digest(data: dict) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


def _written(alarm: FalseAlarm, number: int, output: Path) -> str:
    """Shrink the scenario, and leave it as a file that can go into `cases/`."""
    backend, path = alarm.result.backend, output / f"finding_{number}.yaml"
    case = smallest(alarm.case, lambda other: not judge_on(other, backend)[0])
    verdict, result = judge_on(case, backend)
    if verdict:  # it is not refused when tried again
        case, result = alarm.case, alarm.result
    note = f"Found by seed {number}; {backend} is refused in {case['dtypes'][0]}: {result.verdict}: {result.message}"
    write_case(case, path, f"Random scenario in which {backend} is refused", note)
    return str(path)


# ---------------------------------------------------------------- a campaign


class Campaign:
    """The units that are finished, on disk and in this run."""

    def __init__(self, wanted: int, examples: int, first: int, output: Path):
        self.wanted, self.examples, self.first, self.output = wanted, examples, first, output
        self.key = f"{fingerprint()}-{examples}"
        self.file = output / "units.jsonl"
        self.units = {unit["seed"]: unit for unit in self._on_disk() if unit["seed"] >= first}

    def _on_disk(self) -> Iterator[dict]:
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        for line in lines:
            try:
                unit = json.loads(line)
            except ValueError:  # the last line of a campaign that was killed
                continue
            if unit["key"] == self.key:
                yield unit

    @property
    def certified(self) -> int:
        """The scenarios that every backend was certified in."""
        return sum(unit["counts"].get("certified", 0) for unit in self.units.values())

    @property
    def ended(self) -> bool:
        """Enough scenarios are certified, or so many refused that more would tell nothing new."""
        alarms = sum(len(unit["alarms"]) for unit in self.units.values())
        return self.certified >= self.wanted or alarms >= MOST_ALARMS

    def seeds(self) -> Iterator[int]:
        """The seeds that have not been run, in order."""
        return (number for number in count(self.first) if number not in self.units)

    def keep(self, unit: dict) -> None:
        """Add a finished unit."""
        self.units[unit["seed"]] = unit
        self.output.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(unit | {"key": self.key}) + "\n")

    def summary(self) -> dict:
        """Everything added up."""
        units, counts = self.units.values(), Counter()
        for unit in units:
            counts.update(unit["counts"])
        return {
            "scenarios": {verdict: counts.pop(verdict, 0) for verdict in VERDICTS},
            "backends": list(DEFAULT),
            "shapes": len({shape for unit in units for shape in unit["shapes"]}),
            "met": dict(sorted(counts.items())),
            "units": len(units),
            "seconds": round(sum(unit["seconds"] for unit in units)),
            "alarms": [alarm for unit in units for alarm in unit["alarms"]],
        }


def fingerprint() -> str:
    """Of everything that a verdict depends on: our sources and the versions of the packages."""
    sources = [path for folder in PROGRAMS for path in sorted((ROOT / folder).rglob("*.py"))]
    sources += [Path(__file__).with_name(name) for name in ("fuzz.py", "scenarios.py")]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sources}
    return _digest(texts | versions(*PACKAGES))


def run_campaign(campaign: Campaign, place: AbstractContextManager[Executor], jobs: int, progress: Progress) -> None:
    """Run units until enough scenarios are certified, or ten refused; `place` is where, so many at a time."""
    bar = progress.add_task("scenarios", total=campaign.wanted, completed=campaign.certified)
    seeds, pending = campaign.seeds(), set[Future]()
    with place as pool:
        while not campaign.ended:
            while len(pending) < 2 * jobs:
                pending.add(pool.submit(run_unit, next(seeds), campaign.examples, campaign.output))
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for unit in done:
                campaign.keep(unit.result())
            progress.update(bar, completed=campaign.certified)
        for unit in [unit for unit in pending if not unit.cancel()]:  # those that are at work
            campaign.keep(unit.result())


def tell(summary: dict) -> str:
    """The summary in words."""
    verdicts, seconds = summary["scenarios"], max(summary["seconds"], 1)
    met = ", ".join(f"{kind} {number:,}" for kind, number in summary["met"].items())
    alarms = summary["alarms"]
    return "\n".join(
        [
            f"{verdicts['certified']:,} random scenarios certified on each of {', '.join(summary['backends'])}",
            f"{summary['shapes']:,} shapes; {met}",
            f"beside them {verdicts['out of range']:,} out of range, {verdicts['nothing to compare']:,} of zeros alone",
            f"{sum(verdicts.values()) / seconds:.1f} scenarios a second and process",
            f"{len(alarms)} false alarms" + "".join(f"\n  {alarm}" for alarm in alarms),
        ]
    )


# ---------------------------------------------------------------- the command


def main(argv: list[str] | None = None) -> int:
    """Run a campaign; exit with 1 after a false alarm, with 3 if a worker died, with 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.trial.fuzz", description=__doc__.partition("\n\n")[0])
    parser.add_argument("scenarios", type=int, nargs="?", default=10_000, help="how many to certify (default: 10000)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="worker processes (default: one a core)")
    parser.add_argument("--executor", metavar="dask://HOST:PORT", help="a Dask cluster that shares these folders")
    parser.add_argument("--seed", type=int, default=0, help="of the first unit (default: 0)")
    parser.add_argument("--examples", type=int, default=EXAMPLES_A_UNIT, help="shapes to draw in a unit")
    parser.add_argument("--output", type=Path, default=Path("results/fuzz"), help="default: results/fuzz")
    return run_command(partial(_main, parser.parse_args(argv)))


def _main(arguments: argparse.Namespace) -> int:
    campaign = Campaign(arguments.scenarios, arguments.examples, arguments.seed, arguments.output)
    texts = TextColumn("scenarios"), BarColumn(bar_width=16), MofNCompleteColumn()
    try:
        with Progress(
            *texts, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
        ) as progress:
            if arguments.executor:
                with cluster(arguments.executor) as client:
                    there = client.get_executor(pure=False)
                    run_campaign(campaign, there, sum(client.ncores().values()), progress)
            else:
                jobs = max(1, arguments.jobs)
                run_campaign(campaign, processes(jobs), jobs, progress)
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return USAGE
    except BrokenProcessPool:
        print("a worker died; the finished units are kept, so the same command goes on", file=sys.stderr)
        return INCOMPLETE
    summary = campaign.summary()
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(tell(summary))
    return FOUND if summary["alarms"] else 0


if __name__ == "__main__":
    sys.exit(main())
