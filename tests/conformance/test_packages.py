# SPDX-License-Identifier: Apache-2.0
"""The JavaScript packages are pinned by digest, and the lock names no place to fetch from."""

import json
from pathlib import Path
from typing import TypedDict

FOLDER = Path(__file__).parent


class Locked(TypedDict):
    """One package of the lock file; not all have every key."""

    version: str
    integrity: str
    hasInstallScript: bool
    dependencies: dict[str, str]


class Lock(TypedDict):
    """The lock file."""

    packages: dict[str, Locked]


def test_every_package_is_locked_by_digest() -> None:
    lock: Lock = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: locked for name, locked in lock["packages"].items() if name}
    assert len(packages) > 10
    for name, locked in packages.items():
        assert locked["integrity"].startswith("sha512-"), name
        assert "resolved" not in locked, name
        assert not locked.get("hasInstallScript"), name


def test_what_is_wanted_is_wanted_in_one_version() -> None:
    wanted: Locked = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
    assert all(version[0].isdigit() for version in wanted["dependencies"].values())
