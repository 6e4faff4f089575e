# SPDX-License-Identifier: Apache-2.0
"""A short run of what `make fuzz` does for longer: no parser raises anything but its own errors."""

from random import Random

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.targets import Target, targets

SEED = 20261122


def explode(data: bytes) -> None:
    """A parser with a fault."""
    raise ZeroDivisionError(data)


def test_no_parser_raises_anything_but_its_own_errors() -> None:
    random = Random(SEED)
    for target in targets():
        assert fuzz(target, random, 0.05) > 0


def test_a_parser_with_a_fault_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        fuzz(Target("faulty", explode, (ValueError,), [b"good"]), Random(SEED), 1.0)
    assert "faulty failed on" in capsys.readouterr().err
