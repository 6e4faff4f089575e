# SPDX-License-Identifier: Apache-2.0
"""Results are pure functions: no module of theirs imports what touches the world, or reads a clock."""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[4] / "attestation" / "results"
WORLD = {"asyncio", "datetime", "http", "httpx", "io", "logging", "os", "pathlib", "random", "secrets"} | {
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "threading",
    "time",
    "urllib",
}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_results_touch_nothing_of_the_world(path: Path) -> None:
    assert {name.partition(".")[0] for name in imported(path)}.isdisjoint(WORLD)


def test_only_the_keys_know_cryptography() -> None:
    using = [
        path.stem for path in FOLDER.glob("*.py") if any("cryptography" in name for name in imported(path))
    ]
    assert using == ["keys"]
