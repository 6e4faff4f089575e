# SPDX-License-Identifier: Apache-2.0
"""What the documents say of the tests and commands is true."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def names_below(folder: str) -> set[str]:
    """The names of all tests in a folder."""
    return {
        name for path in (ROOT / "tests" / folder).rglob("*.py") for name in TEST.findall(path.read_text())
    }


def test_every_attack_test_is_in_the_threat_model_and_every_line_names_one_that_exists() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    assert names_below("attacks") - named == set()
    assert named - names_below("") == set()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| attack")]
    assert len(rows) > 25
    assert all("`test_" in row for row in rows)


def anchors(document: Path) -> set[str]:
    """The names of a document's headings in addresses."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(documents) > 12
    for document in documents:
        for target, anchor in re.findall(
            r"\]\(([^)#:]*)(?:#([^)]*))?\)", document.read_text(encoding="utf-8")
        ):
            found = document.parent / target if target else document
            assert found.exists(), f"{document.name} links to {target}"
            assert not anchor or anchor in anchors(found), f"{document.name} links to {target}#{anchor}"


def test_ci_runs_the_test_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    gates = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for gate in ("make check", "make test"):
        assert gate in readme
        assert gate in gates


def test_commands_of_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    made = subprocess.run(["make", "help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for target in re.findall(r"^make (\w+)", readme, re.MULTILINE):
        assert f"make {target}" in made
    helped = subprocess.run(
        [sys.executable, "-P", "-m", "sottovoce", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in re.findall(r"\.venv/bin/sottovoce (\w+)", readme):
        assert command in helped


def test_every_rule_that_is_set_aside_says_why() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*.py"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    excused = [
        line
        for name in tracked.stdout.split()
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        if re.search(r"#\s*noqa", line) and "re.search" not in line
    ]
    assert len(excused) > 20
    for line in excused:
        assert re.search(r"  # noqa: [A-Z]+\d+(, [A-Z]+\d+)* - \w", line), line
