# SPDX-License-Identifier: Apache-2.0
"""What a running host has in its memory: no module that knows keys, evidence or plaintext."""

import subprocess
import sys

import pytest

BLIND = {
    "wire.hpke",
    "wire.ohttp",
    "wire.bhttp",
    "wire.padding",
    "attestation",
    "cryptography",
    "enclave",
    "sottovoce",
}


@pytest.mark.parametrize("module", ["host.gateway", "host.__main__"])
def test_host_loads_nothing_that_could_read_along(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "wire.frames" in loaded
    assert loaded.isdisjoint(BLIND)
