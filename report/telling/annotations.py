"""What is not certified, for CI: as JUnit XML, a test a run, and as SARIF, at the case's line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree as ET

from backproof.cases.format.message import KEY, Place
from backproof.cases.format.schema import Case
from backproof.cases.reading.document import Document, Position, Refused
from backproof.cases.reading.load import START, Mistake, document_of
from backproof.report.judging.finding import Finding
from backproof.report.judging.judge import Judgement
from backproof.report.judging.outcome import Comparison, Pair, Result

OUTSIDE, INVALID = "outside", "invalid case"
Read = Callable[[Path], Document | None]
RULES = {  # by verdict: the level in SARIF, the element of JUnit, and what it means
    "differs": ("error", "failure", "Some number is not within its derived allowance."),
    OUTSIDE: ("error", "failure", "Two free runs are outside the case's tolerance."),
    INVALID: ("error", "error", "The case file cannot be used."),
    "undecided": ("warning", "failure", "Nothing wrong was seen, but not all could be decided."),
    "out of range": ("warning", "failure", "The run leaves the range of its dtype."),
    "incomplete": ("warning", "error", "The record is not what it must be."),
    "missing": ("warning", "error", "The backend, or the run, is not there."),
    "error": ("warning", "error", "The backend raised an exception."),
    "crash": ("warning", "error", "The backend's process died."),
    "timeout": ("warning", "error", "The run took longer than its limit."),
    "out of memory": ("warning", "error", "The run needs more memory than there is."),
    "unsupported": ("note", "skipped", "The backend cannot express the case."),
}
SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
COUNTED = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


def files_for_ci(
    formats: Iterable[str], comparisons: list[Comparison], mistakes: list[Mistake]
) -> dict[str, bytes]:
    """Return the files of these formats by name, `report.junit.xml` and `report.sarif`."""
    wanted = (FILES[name] for name in dict.fromkeys(formats))
    return {file: write(comparisons, mistakes) for file, write in wanted}


def _clean(words: str) -> str:
    """Return the words without characters that XML has no place for, lone surrogates too."""
    return NOT_IN_XML.sub("\ufffd", words)


# ---------------------------------------------------------------- JUnit


def junit(comparisons: list[Comparison], mistakes: list[Mistake]) -> bytes:
    """Return JUnit XML: a suite a case, and one a file with mistakes.

    A test is a dtype and backend. Pairs are there where they are outside the tolerance.
    """
    root = ET.Element("testsuites", name="backproof")
    for name, group in groupby(comparisons, key=lambda comparison: comparison.case.name):
        suite = ET.SubElement(root, "testsuite", name=_clean(name))
        for one in group:
            for result in one.results:
                _test(suite, f"{one.dtype}-{result.backend}", result)
            for pair in _outside(one):
                told = Result("-".join(pair.names), OUTSIDE, str(pair.drift))
                _test(suite, f"{one.dtype}-{told.backend}", told)
    for file, of_file in groupby(mistakes, key=lambda mistake: mistake.file):
        suite = ET.SubElement(root, "testsuite", name=_clean(file))
        for mistake in of_file:
            _test(suite, f"{mistake.line}:{mistake.column}", Result("", INVALID, str(mistake)))
    for element in (*root, root):
        for name, tag in COUNTED.items():
            element.set(name, str(sum(1 for _ in element.iter(tag))))
        times = (float(test.get("time", 0)) for test in element.iter("testcase"))
        element.set("time", f"{sum(times):.6f}")
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _test(suite: ET.Element, name: str, result: Result) -> None:
    """Add what came of one run to its suite."""
    seconds, message = sum(result.seconds.values()), _clean(result.message)
    about = {"classname": suite.get("name", ""), "name": _clean(name), "time": f"{seconds:.6f}"}
    test = ET.SubElement(suite, "testcase", about)
    if result.verdict in RULES:
        _, tag, _ = RULES[result.verdict]
        ET.SubElement(test, tag, message=message, type=result.verdict).text = message
    if result.output:
        ET.SubElement(test, "system-out").text = _clean(result.output)


def _outside(comparison: Comparison) -> Iterator[Pair]:
    yield from (pair for pair in comparison.pairs if pair.status == OUTSIDE)


# ---------------------------------------------------------------- SARIF


class _Annotation(NamedTuple):
    """A verdict at a line of a file: what it is of, `xor/a float64 torch`, and why."""

    verdict: str
    of: str
    message: str
    file: Path
    position: Position


def sarif(comparisons: list[Comparison], mistakes: list[Mistake]) -> bytes:
    """Return SARIF 2.1.0: a result for every run that is not certified, and for every mistake."""
    read = cache(_document)
    runs = (one for comparison in comparisons for one in _not_certified(comparison, read))
    found = [*_mistaken(mistakes), *runs]
    driver = {"name": "backproof", "rules": [_rule(verdict) for verdict in RULES]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(annotation) for annotation in found],
    }
    content = {"$schema": SARIF, "version": "2.1.0", "runs": [run]}
    return (json.dumps(content, indent=1) + "\n").encode()


def _mistaken(mistakes: list[Mistake]) -> Iterator[_Annotation]:
    for mistake in mistakes:
        place = Path(mistake.file), (mistake.line, mistake.column)
        yield _Annotation(INVALID, mistake.file, mistake.message, *place)


def _not_certified(comparison: Comparison, read: Read) -> Iterator[_Annotation]:
    """Yield the runs of a case that are not certified, and the pairs outside the tolerance."""
    case, of = comparison.case, f"{comparison.case.name} {comparison.dtype}"
    for result in comparison.results:
        if result.verdict in RULES:
            position = _position(case, result.judgement, read)
            names = result.verdict, f"{of} {result.backend}"
            yield _Annotation(*names, result.message, case.file, position)
    for pair in _outside(comparison):
        names = OUTSIDE, f"{of} {'-'.join(pair.names)}"
        yield _Annotation(*names, str(pair.drift), case.file, START)


def _rule(verdict: str) -> dict:
    level, _, meaning = RULES[verdict]
    words = {key: {"text": meaning} for key in ("shortDescription", "fullDescription", "help")}
    return {"id": verdict, "defaultConfiguration": {"level": level}} | words


def _result(annotation: _Annotation) -> dict:
    """Return a result, whose identity is its run: GitHub would join those at one line."""
    level, *_ = RULES[annotation.verdict]
    words = _clean(f"{annotation.of} {annotation.verdict}: {annotation.message}")
    line, column = annotation.position
    what = annotation.message if annotation.verdict == INVALID else annotation.verdict
    run = f"{annotation.of} {what}".encode("utf-8", "surrogateescape")
    place = {
        "artifactLocation": _artifact(annotation.file),
        "region": {"startLine": line, "startColumn": column},
    }
    return {
        "ruleId": annotation.verdict,
        "level": level,
        "message": {"text": words.replace("](", "] (")},  # which would be a link
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"primaryLocationLineHash": f"{sha256(run).hexdigest()[:16]}:1"},
    }


def _artifact(file: Path) -> dict[str, str]:
    """Return where a file is: below the repository or, without one, the working directory."""
    path, here = Path(os.path.abspath(file)), Path.cwd()  # noqa: PTH100, which leaves no ..
    root = next((one for one in (here, *here.parents) if (one / ".git").exists()), here)
    if not path.is_relative_to(root):
        return {"uri": path.as_uri()}
    below = path.relative_to(root).as_posix()
    return {"uri": quote(os.fsencode(below)), "uriBaseId": "%SRCROOT%"}


# ---------------------------------------------------------------- the line of a case


def _document(file: Path) -> Document | None:
    """Read a case once more; None if it can't be read any more."""
    try:
        return document_of(file)
    except Refused:
        return None


def _position(case: Case, judgement: Judgement | None, read: Read) -> Position:
    """Return where the case names what is not certified; its beginning where that is not known."""
    if judgement is None or judgement.where is None or not (document := read(case.file)):
        return START
    place = _place(case, judgement, judgement.where)
    if case.objective and place[:1] not in document.values:
        place = ("objective", KEY)
    return document.position(place) if place and place[:1] in document.values else START


def _place(case: Case, judgement: Judgement, where: Finding) -> Place:
    """Return what in a case a finding is about: a layer, the loss, the optimizer, a parameter."""
    statuses = [number.status for number in judgement.published]
    if judgement.only_print_missed:
        return ("published", statuses.index("missed"))
    match where.phase:
        case "loss":
            return ("loss", KEY)
        case "update" | "state":
            return ("training", "optimizer", KEY)
        case "learning rate":
            return ("training", "schedule", KEY)
        case "start" | "continuity":
            return ("parameters", where.tensor, KEY)
    if where.tensor == "input":
        return ("data", "inputs", KEY)
    layers = {layer.name: number for number, layer in enumerate(case.network)}
    own = [name for name in layers if f"{where.tensor}.".startswith(f"{name}.")]
    return ("network", layers[max(own, key=len)]) if own else ()


Write = Callable[[list[Comparison], list[Mistake]], bytes]
FILES: dict[str, tuple[str, Write]] = {
    "junit": ("report.junit.xml", junit),
    "sarif": ("report.sarif", sarif),
}
