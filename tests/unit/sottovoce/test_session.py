# SPDX-License-Identifier: Apache-2.0
"""The client's half of an exchange: what it refuses to send."""

import pytest

from attestation.verify import verify
from sottovoce import session
from sottovoce.session import Exchange, NoSuitableKeyError, RequestTooLargeError
from tests.fakes import hardware
from tests.fakes.courier import ends


def test_a_request_that_nobody_takes_is_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_CONTENT_BYTES", 10)
    with pytest.raises(RequestTooLargeError, match="11 bytes exceeds 10"):
        Exchange(ends().verified, "POST", "/", content=b"x" * 11, content_type="text/plain")


def test_nothing_is_sealed_to_a_classical_key_alone() -> None:
    classical = verify(hardware.evidence(), hardware.policy(), hardware.NOW)
    with pytest.raises(NoSuitableKeyError):
        Exchange(classical, "GET", "/v1/models", content=b"", content_type="")
