# SPDX-License-Identifier: Apache-2.0
"""Make every mistake in the code that decides, and list those that no test notices.

One run of the tests measures which of them reach which line, and how long each takes. After that each
mistake meets the tests that reach its line, the quickest first, until one fails.
"""

import argparse
import gc
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Final

import coverage
import pytest
from _pytest.runner import runtestprotocol
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.mutation.accepted import ACCEPTED
from tests.mutation.mistakes import Kind, Mistake, mistakes
from tests.mutation.trial import Keys, memories, noticed

DECIDING: Final = (
    "binding", "case", "rules", "verify",
    "snp/appraisal", "snp/certificates", "snp/policy", "snp/structure",
    "tdx_case", "tdx/certificates", "tdx/collateral", "tdx/platform", "tdx/policy", "tdx/rules", "tdx/tcb",
    "tdx/log_checks", "azure/checks", "azure/gce", "nvidia/certificates", "nvidia/checks",
)  # fmt: skip
UNIT: Final = "tests/unit/attestation/"
SHARED: Final = (
    *(f"{UNIT}test_{name}.py" for name in ("binding", "cache", "decisions", "raw_evidence", "verify")),
    f"{UNIT}test_policy.py", f"{UNIT}test_verdict.py", f"{UNIT}test_bounds.py",
    "tests/attacks/test_evidence.py", "tests/attacks/test_platform.py",
)  # fmt: skip
"""Tests that are quick and reach most. Those of one vendor come to the modules of that vendor."""

VENDORS: Final = MappingProxyType(
    {
        "snp": (f"{UNIT}test_certificates.py", f"{UNIT}test_report.py", f"{UNIT}test_vectors_snp.py",
                f"{UNIT}simulated/test_snp_verifier.py", "tests/attacks/test_regressions.py"),
        "tdx": (f"{UNIT}tdx", f"{UNIT}simulated/test_tdx_oracle.py", "tests/attacks/test_regressions.py"),
        "azure": (f"{UNIT}azure",),
        "nvidia": (f"{UNIT}nvidia",),
    }
)  # fmt: skip
# Every bit of everything, for mistakes that other tests notice in milliseconds; and keys of several seconds.
TOO_SLOW: Final = (f"--ignore={UNIT}tdx/test_tdx_flips.py", "-k", "not (test_snp_verifier and wrong)")
MAX_TEST_SECONDS: Final = 20.0
"""How much of the processor the tests of one mistake may take altogether when nothing is wrong."""


class Runner:
    """In place of pytest's loop over the tests: measure them, then try every mistake."""

    def __init__(self, modules: Sequence[Path]) -> None:
        self.modules = modules
        self.survivors: list[tuple[str, str, str]] = []
        self.count = 0
        self._seconds: dict[str, float] = {}
        self._of_tables: set[str] = set()
        """Tests that run none of the code look at tables alone."""
        self._keys = Keys()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take over from pytest."""
        reached = self._measure(session.items)
        for path in self.modules:
            text = path.read_text(encoding="utf-8")
            for mistake in mistakes(path):
                self._try(mistake, text, session.items, reached[path])
        return True

    def _measure(self, items: Sequence[pytest.Item]) -> dict[Path, dict[int, set[str]]]:
        """The tests that reach each line of each module."""
        measured = coverage.Coverage(
            data_file=None, config_file=False, include=[str(path) for path in self.modules]
        )
        pytest.MonkeyPatch().setattr(rsa, "generate_private_key", self._keys.make)
        remembered = memories()
        measured.start()
        for item in items:
            for forget in remembered:
                forget()
            measured.switch_context(item.nodeid)
            start = time.process_time()
            reports = runtestprotocol(item, log=False, nextitem=None)
            self._seconds[item.nodeid] = time.process_time() - start
            if any(report.failed for report in reports):
                raise pytest.UsageError(f"{item.nodeid} fails without any mistake")
        measured.stop()
        gc.freeze()
        data = measured.get_data()
        reached: dict[Path, dict[int, set[str]]] = {}
        for path in self.modules:
            lines = data.contexts_by_lineno(str(path.resolve()))
            reached[path] = {line: set(names) - {""} for line, names in lines.items()}
        running = set[str]().union(*(names for lines in reached.values() for names in lines.values()))
        self._of_tables = {item.nodeid for item in items} - running
        return reached

    def _try(
        self, mistake: Mistake, text: str, items: Sequence[pytest.Item], reached: dict[int, set[str]]
    ) -> None:
        lines = [line for line in reached if line <= mistake.line]
        names = (
            reached[max(lines)]
            if mistake.kind is Kind.FUNCTION and lines
            else self._of_tables.union(*reached.values())
        )
        tests = self._quickest([item for item in items if item.nodeid in names])
        self.count += 1
        seconds = 10 + 5 * sum(self._seconds[test.nodeid] for test in tests)
        if tests and noticed(mistake, tests, seconds, self._keys):
            return
        module, line, what = found = mistake.describe(text)
        self.survivors.append(found)
        if found not in ACCEPTED:
            sys.stdout.write(f"{module}:{mistake.line}: {what}: {line}\n")
            sys.stdout.flush()

    def _quickest(self, tests: list[pytest.Item]) -> list[pytest.Item]:
        """The first of every file, then the quickest, as many as there is time for."""
        by_file = defaultdict[str, list[pytest.Item]](list)
        for test in sorted(tests, key=lambda test: self._seconds[test.nodeid]):
            by_file[test.nodeid.partition("::")[0]].append(test)
        ordered = sorted(
            (rank, self._seconds[test.nodeid], number, test)
            for number, file in enumerate(by_file.values())
            for rank, test in enumerate(file)
        )
        spent = accumulate(seconds for _, seconds, _, _ in ordered)
        return [entry[3] for entry, total in zip(ordered, spent, strict=True) if total <= MAX_TEST_SECONDS]


def main() -> int:
    """Try all modules, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as snp/appraisal; all by default")
    chosen: list[str] = parser.parse_args().modules or [*DECIDING]
    runner = Runner([Path("attestation", f"{name}.py") for name in chosen])
    vendors = {name.partition("/")[0].removesuffix("_case") for name in chosen} & VENDORS.keys()
    tests = [*SHARED, *(test for vendor in sorted(vendors) for test in VENDORS[vendor])]
    status = pytest.main(
        ["-q", "-s", "-p", "no:cacheprovider", "--timeout=0", *TOO_SLOW, *tests], plugins=[runner]
    )
    unnoticed = [found for found in runner.survivors if found not in ACCEPTED]
    survivors = len(runner.survivors)
    sys.stdout.write(
        f"{runner.count} mistakes, {survivors} not noticed, {len(unnoticed)} of these unexplained\n"
    )
    return 1 if status or unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
