"""What commands write is what they would write now; what `make trial` writes is compared in test_mutants.py."""

from backproof.cases import __main__ as cases_main
from backproof.cases.format.schema import CASES
from tests.support import reference_page
from tests.trial import mutation_page
from tests.trial.readme import README, readme_with


def without_cases(page: str) -> list[str]:
    return [line for line in page.splitlines() if not line.startswith("- Cases:")]


def test_the_schema(capsys):
    """`make schema` renews it."""
    assert cases_main.main(["--schema"]) == 0
    assert capsys.readouterr().out == (CASES / "case.schema.json").read_text(encoding="utf-8")


def test_the_reference_page():
    """`make reference` renews it; a new case alone need not."""
    written = reference_page.PAGE.read_text(encoding="utf-8")
    assert without_cases(written) == without_cases(reference_page.whole_page())


def test_the_page_of_mutation():
    """`make mutation` renews it and the README: their numbers are hours of work, their words are the program's."""
    written = mutation_page.PAGE.read_text(encoding="utf-8")
    found = mutation_page.read_scores(written)
    assert sum(score.changes for score in found) > 1000
    assert written == mutation_page.whole_page(found)
    assert README.read_text(encoding="utf-8") == readme_with("mutation", [mutation_page.headline(found)])
