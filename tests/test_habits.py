"""What keeps a project going: its citation, the hooks before a commit, the workflows, and the check of a release."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import LINUX, UNIX

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> dict:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version():
    citation = read(ROOT / "CITATION.cff")
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The backproof authors"}]


def test_hooks_run_what_is_here():
    """They fetch nothing, and name files that exist."""
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    named = re.findall(r"\S+\.py\b", " ".join(hook["entry"] for hook in repository["hooks"]))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_uses_no_make_and_no_registry(workflow):
    """Windows has no make; and where packages come from is for pip's own settings to say."""
    steps = [step for job in read(workflow)["jobs"].values() for step in job["steps"]]
    assert all(step["uses"].startswith(("actions/", "github/")) for step in steps if "uses" in step)
    commands = [step["run"] for step in steps if "run" in step]
    assert [command for command in commands if re.search(r"\bmake\b|https?://|--index-url|twine", command)] == []


def test_the_tests_run_on_every_python_and_system():
    tests = read(ROOT / ".github" / "workflows" / "backproof.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert tests["python"] == [f"3.{minor}" for minor in range(11, 15)]
    assert tests["system"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert PROJECT["requires-python"] == f">={tests['python'][0]}"


def test_what_a_system_leaves_out_is_there():
    """The names in conftest.py are those of tests, so that a renamed one is not run where it can't be."""
    files = [*(ROOT / "tests").rglob("*.py")]
    defined = {path.stem for path in files}
    defined |= {found for path in files for found in re.findall(r"^def (\w+)\(", path.read_text("utf-8"), re.MULTILINE)}
    assert (LINUX | UNIX) - defined == set()


# ---------------------------------------------------------------- a release


@pytest.fixture
def checkout(tmp_path):
    """What the check of a release reads, of a version that may be released."""
    for name in ("pyproject.toml", "CITATION.cff", ".ci/release.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    version = PROJECT["version"]
    changes = f"# Changelog\n\n## {version} (2026-01-31)\n\n- It is new.\n\n## 0.0.1\n\n- Old.\n"
    (tmp_path / "CHANGELOG.md").write_text(changes, encoding="utf-8")
    return tmp_path


def checked(checkout: Path, tag: str) -> tuple[int, str, str]:
    command = [sys.executable, str(checkout / ".ci" / "release.py"), tag]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=os.environ, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_release_has_its_part_of_the_changelog_as_notes(checkout):
    assert checked(checkout, f"v{PROJECT['version']}") == (0, "- It is new.\n", "")


def test_a_tag_of_another_version_is_refused(checkout):
    code, notes, told = checked(checkout, "v9.9.9")
    assert (code, notes) == (1, "")
    assert told.startswith("the tag is v9.9.9, but pyproject.toml has ")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("CITATION.cff", ("version: ", "version: 7"), "CITATION.cff has version: 7"),
        ("CHANGELOG.md", ("(2026-01-31)", "(unreleased)"), "put the date in its place"),
        ("CHANGELOG.md", ("- It is new.", ""), "write what is new in it"),
        ("CHANGELOG.md", ("## 0.", "## 10."), "says nothing below a heading"),
    ],
)
def test_what_is_not_ready_is_refused(checkout, file, change, message):
    text = (checkout / file).read_text(encoding="utf-8")
    (checkout / file).write_text(text.replace(*change), encoding="utf-8")
    code, notes, told = checked(checkout, f"v{PROJECT['version']}")
    assert (code, notes) == (1, "")
    assert message in told
    assert told.count("\n") == 1
