# SPDX-License-Identifier: Apache-2.0
"""What this machine has: the cores and the memory that are really there for this process group.

A processor count alone is not it: with more threads than free cores llama.cpp, whose threads wait by
spinning, becomes a hundred times slower, and memory beyond a control group's limit ends the process.
"""

import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
OWN_GROUP = Path("/proc/self/cgroup")


def cores(groups: Path = GROUPS, own_group: Path = OWN_GROUP) -> int:
    """How many cores this process may use at once: by its affinity, and by its control groups' quotas."""
    found = len(os.sched_getaffinity(0))
    for text in _limits("cpu.max", groups, own_group):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            found = min(found, max(1, int(quota) // int(period)))
    return found


def memory_bytes(groups: Path = GROUPS, own_group: Path = OWN_GROUP, meminfo: Path = MEMINFO) -> int:
    """How much memory this process could still take. Raises OSError where the kernel does not say."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    found = int(lines["MemAvailable"].split()[0]) << 10
    limits = _limits("memory.max", groups, own_group)
    used = _limits("memory.current", groups, own_group)
    for limit, current in zip(limits, used, strict=False):
        if limit.isdecimal() and current.isdecimal():
            found = min(found, max(0, int(limit) - int(current)))
    return found


def _limits(name: str, groups: Path, own_group: Path) -> list[str]:
    """One file of the own control group and of every one above it."""
    try:
        place = own_group.read_text(encoding="utf-8").splitlines()[-1].rpartition(":")[2].strip("/")
    except (OSError, IndexError):
        return []
    folders = [groups / place, *(groups / place).parents] if place else [groups]
    found: list[str] = []
    for folder in folders:
        if folder.is_relative_to(groups):
            try:
                found.append((folder / name).read_text(encoding="ascii").strip())
            except OSError:
                continue
    return found
