# SPDX-License-Identifier: Apache-2.0
"""One host for a module of tests, and an enclave for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.host.support import FakeEnclave, running_host


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the host looks for the enclave."""
    return tmp_path_factory.mktemp("link") / "enclave.sock"


@pytest.fixture(scope="module")
def port(link: Path) -> Iterator[int]:
    """Where the host listens."""
    with running_host(link) as number:
        yield number


@pytest.fixture
def enclave(link: Path) -> Iterator[FakeEnclave]:
    """An enclave that does what the test says."""
    fake = FakeEnclave(link)
    yield fake
    fake.close()
    link.unlink()
