# SPDX-License-Identifier: Apache-2.0
"""Reading the expiry out of an evidence document, whatever the enclave may have sent."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.health import claims_expire_at
from tests.fakes import hardware

few = settings(max_examples=100, deadline=None, derandomize=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["claims", "exp", "x"]), inner)
    ),
    max_leaves=5,
)


def document(claims: object) -> bytes:
    return json.dumps({"claims": base64.b64encode(json.dumps(claims).encode()).decode()}).encode()


def test_genuine_evidence_tells_when_it_expires() -> None:
    assert claims_expire_at(hardware.evidence().encode()) == hardware.CLAIMS.expires_at


def test_expiry_is_read_from_the_claims() -> None:
    assert claims_expire_at(document({"exp": 1_790_000_000})) == 1_790_000_000


@pytest.mark.parametrize(
    "claims",
    [{}, {"exp": True}, {"exp": "1790000000"}, {"exp": 1.79e9}, {"exp": None}, [], [1], 7, None, "exp"],
)
def test_claims_without_an_expiry_are_expired(claims: object) -> None:
    assert claims_expire_at(document(claims)) == 0


@pytest.mark.parametrize(
    "evidence",
    [
        b"",
        b"{}",
        b"[]",
        b"7",
        b"\xff",
        b'{"claims": 7}',
        b'{"claims": null}',
        b'{"claims": "*"}',
        '{"claims": "é"}'.encode(),
        b'{"claims": "AAAA"}',
        b"[" * 60_000,
        document({"exp": 1})[:-1],
        b'{"claims": "' + base64.b64encode(b"[" * 40_000) + b'"}',
        b'{"claims": "' + base64.b64encode(b'{"exp": ' + b"9" * 5000 + b"}") + b'"}',
    ],
)
def test_what_is_no_evidence_is_expired(evidence: bytes) -> None:
    assert claims_expire_at(evidence) == 0


@few
@given(JSON, JSON)
def test_no_document_is_too_strange(outer: object, claims: object) -> None:
    for evidence in (json.dumps(outer).encode(), document(claims)):
        assert type(claims_expire_at(evidence)) is int


@few
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_expired(evidence: bytes) -> None:
    assert claims_expire_at(evidence) == 0
