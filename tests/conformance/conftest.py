# SPDX-License-Identifier: Apache-2.0
"""One enclave and host for the clients that other people wrote, with every adapter on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Pair, running_pair

EHBP = "ehbp = true\n"
ADAPTERS = 'adapters = ["tng", "ehbp"]\n'


@pytest.fixture(scope="session")
def open_pair(tmp_path_factory: pytest.TempPathFactory, vendor_folder: Path) -> Iterator[Pair]:
    """A pair that serves other protocols too."""
    folder = tmp_path_factory.mktemp("open-pair")
    with running_pair(folder, vendor_folder, settings=EHBP, host_settings=ADAPTERS) as running:
        yield running
