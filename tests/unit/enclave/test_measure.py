# SPDX-License-Identifier: Apache-2.0
"""Cores and memory that are really there, as the kernel tells of them."""

import os
from pathlib import Path

import pytest

from enclave.engine.measure import cores, memory_bytes

MEMINFO = "MemTotal:       9000 kB\nMemAvailable:   5000 kB\nHugePages_Total:  0\n"


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """The folders of a control group inside another."""
    (tmp_path / "cgroup" / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "own").write_text("0::/outer/inner\n", encoding="utf-8")
    (tmp_path / "meminfo").write_text(MEMINFO, encoding="ascii")
    return tmp_path


def written(groups: Path, **files: str) -> None:
    for name, text in files.items():
        place, _, file = name.rpartition("__")
        folder = groups / "cgroup" / {"": "", "outer": "outer", "inner": "outer/inner"}[place]
        (folder / file.replace("_", ".")).write_text(text + "\n", encoding="ascii")


def test_without_a_quota_every_core_of_the_affinity_counts(groups: Path) -> None:
    written(groups, inner__cpu_max="max 100000")
    assert cores(groups / "cgroup", groups / "own") == len(os.sched_getaffinity(0))
    assert cores(groups / "none", groups / "none") == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("quota", "expected"), [("100000 100000", 1), ("50000 100000", 1), ("9 0", None)])
def test_a_quota_of_any_group_above_counts(groups: Path, quota: str, expected: int | None) -> None:
    written(groups, outer__cpu_max=quota)
    assert cores(groups / "cgroup", groups / "own") == (expected or len(os.sched_getaffinity(0)))


def test_memory_is_what_the_kernel_calls_available(groups: Path) -> None:
    assert memory_bytes(groups / "cgroup", groups / "own", groups / "meminfo") == 5000 << 10


@pytest.mark.parametrize(
    ("limit", "used", "expected"), [("max", "9", 5000 << 10), ("4096", "1000", 3096), ("1", "9", 0)]
)
def test_a_limit_of_any_group_above_counts_for_memory(
    groups: Path, limit: str, used: str, expected: int
) -> None:
    written(groups, outer__memory_max=limit, outer__memory_current=used)
    assert memory_bytes(groups / "cgroup", groups / "own", groups / "meminfo") == expected


def test_this_machine_has_some_of_both() -> None:
    assert cores() >= 1
    assert memory_bytes() > 0
