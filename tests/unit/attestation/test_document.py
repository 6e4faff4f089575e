# SPDX-License-Identifier: Apache-2.0
"""Document and claims have one form each (wire.md 6.3)."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.evidence import (
    MAX_DOCUMENT_BYTES,
    Claims,
    Evidence,
    EvidenceError,
    decode_claims,
    decode_evidence,
    decode_session_evidence,
)
from tests.fakes.hardware import CLAIMS, evidence
from wire.strict_json import MAX_INTEGER

GOOD = Evidence("sev-snp", 0, b"report", (b"leaf", b"ask", b"ark"), b"crl", b"keys", b"claims")
DIGESTS = st.binary(min_size=32, max_size=32)
INTEGERS = st.integers(0, MAX_INTEGER)
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255)


def document(**changes: object) -> bytes:
    """The good document with members changed; None leaves one out."""
    members: dict[str, object] = {**json.loads(GOOD.encode()), **changes}
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


def claims(**changes: object) -> bytes:
    """The good claims with members changed, in the canonical form; None leaves one out."""
    members: dict[str, object] = {**json.loads(CLAIMS.encode()), **changes}
    kept = {name: value for name, value in sorted(members.items()) if value is not None}
    return json.dumps(kept, separators=(",", ":")).encode()


def test_documents_round_trip() -> None:
    assert decode_evidence(GOOD.encode()) == GOOD
    simulated = evidence()
    assert decode_evidence(simulated.encode()) == simulated
    assert decode_evidence(document()) == GOOD


def test_documents_of_trust_domains_bring_collateral_and_no_chain() -> None:
    good = Evidence("tdx", 0, b"quote", (), b"", b"keys", b"claims", b"collateral")
    assert decode_evidence(good.encode()) == good
    members: dict[str, object] = json.loads(good.encode())
    assert "chain" not in members
    assert "crl" not in members
    additions: tuple[dict[str, object], ...] = ({"chain": list[str]()}, {"crl": ""}, {"tee": "sev-snp"})
    for addition in additions:
        other = {**members, **addition}
        with pytest.raises(EvidenceError, match="missing or unexpected"):
            decode_evidence(json.dumps(other).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"collateral": ""},
        {"v": 2},
        {"v": True},
        {"v": "1"},
        {"v": 1.0},
        {"v": None},
        {"tee": "simulated"},
        {"tee": 1},
        {"mode": 1},
        {"mode": -1},
        {"gpu": {}},
        {"crl": None},
        {"report": "cmVwb3J0=="},
        {"report": "cmVwb3J1dB=="},
        {"report": "cmVw b3J0"},
        {"report": "_-__"},
        {"report": "cmVwb3J"},
        {"report": "é"},
        {"report": ["cmVwb3J0"]},
        {"chain": "bGVhZg=="},
        {"chain": []},
        {"chain": ["bGVhZg=="] * 6},
        {"chain": [1]},
    ],
)
def test_other_documents_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        decode_evidence(document(**changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b" " + GOOD.encode(),
        b"{" * 60_000 + b"}",
        b'{"v":' + b"[" * 60_000 + b"}",
        b'{"v":\xff}',
        b'{"v":NaN}',
        b'{"v":' + b"1" * 5000 + b"}",
        GOOD.encode().replace(b'{"v":1', b'{"v":1,"v":1'),
        document(v=1)[:-1] + b" " * MAX_DOCUMENT_BYTES + b"}",
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        decode_evidence(data)


@given(
    st.builds(
        Claims,
        audience=TEXTS,
        configuration=DIGESTS,
        epoch=INTEGERS,
        expires_at=INTEGERS,
        issued_at=INTEGERS,
        model=DIGESTS,
        minimum_version=INTEGERS,
        receipt_key=DIGESTS,
        release=DIGESTS,
        deployment=TEXTS,
    )
)
def test_claims_round_trip(original: Claims) -> None:
    assert decode_claims(original.encode()) == original


def test_claims_have_the_bytes_of_the_specification() -> None:
    digests = {name: bytes([octet]) * 32 for name, octet in (("cfg", 1), ("mdl", 7), ("rct", 2), ("rel", 0))}
    assert CLAIMS.encode().decode() == (
        f'{{"aud":"https://llm.example","cfg":"{digests["cfg"].hex()}","ep":3,"exp":1790001200,"iat":1790000000,'
        f'"mdl":"{digests["mdl"].hex()}","min":1,"rct":"{digests["rct"].hex()}","rel":"{digests["rel"].hex()}",'
        '"sub":"living-room","v":1}'
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"ep": True},
        {"ep": -1},
        {"ep": MAX_INTEGER + 1},
        {"ep": 1.5},
        {"aud": ""},
        {"aud": "https://\u00fcber.example"},
        {"aud": "a\nb"},
        {"aud": "a" * 256},
        {"aud": 1},
        {"cfg": "00" * 31},
        {"cfg": "AA" * 32},
        {"cfg": 1},
        {"cfg": None},
        {"extra": 1},
    ],
)
def test_other_claims_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        decode_claims(claims(**changes))


@pytest.mark.parametrize(("old", "new"), [(b",", b", "), (b'"ep":3', b'"ep":03'), (b'"ep"', b'"\\u0065p"')])
def test_claims_in_another_encoding_are_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(EvidenceError):
        decode_claims(CLAIMS.encode().replace(old, new, 1))


def test_claims_in_another_order_are_refused() -> None:
    members = json.loads(CLAIMS.encode())
    reversed_order = json.dumps(dict(reversed(members.items())), separators=(",", ":")).encode()
    with pytest.raises(EvidenceError, match="canonical"):
        decode_claims(reversed_order)
    assert decode_claims(replace(CLAIMS, epoch=4).encode()).epoch == 4


FRESH = Evidence(
    "sev-snp",
    1,
    b"report",
    (b"leaf",),
    b"crl",
    b"keys",
    b"claims",
    path=(bytes(32), bytes([1]) * 32),
    index=3,
)


def fresh_document(**changes: object) -> bytes:
    """A document of mode 1 with members changed; None leaves one out."""
    members: dict[str, object] = {**json.loads(FRESH.encode()), **changes}
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


def test_documents_for_one_session_have_a_place_in_a_tree() -> None:
    assert decode_evidence(FRESH.encode()) == FRESH
    alone = replace(FRESH, path=(), index=0)
    assert decode_evidence(alone.encode()) == alone
    domain = Evidence("tdx", 1, b"quote", (), b"", b"keys", b"claims", b"collateral", path=(bytes(32),))
    assert decode_evidence(domain.encode()) == domain


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": 0},
        {"mode": 2},
        {"mode": True},
        {"mode": 1.0},
        {"path": None},
        {"path": "AAAA"},
        {"path": ["AAAA"]},
        {"path": [7]},
        {"path": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] * 7},
        {"index": None},
        {"index": -1},
        {"index": 64},
        {"index": True},
        {"index": "0"},
    ],
)
def test_other_places_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        decode_evidence(fresh_document(**changes))


def test_a_session_response_takes_endorsements_from_the_public_document_where_it_has_none() -> None:
    public = replace(GOOD, chain=(b"other leaf", b"ask", b"ark"), crl=b"other crl")
    bare = replace(FRESH, chain=public.chain, crl=public.crl)
    for changes in ({"chain": None, "crl": None}, {"chain": list[str](), "crl": ""}):
        assert decode_session_evidence(fresh_document(**changes), public) == bare
    assert decode_session_evidence(FRESH.encode(), public) == FRESH
    domain = Evidence("tdx", 1, b"quote", (), b"", b"keys", b"claims", b"collateral")
    members: dict[str, object] = {**json.loads(domain.encode())}
    del members["collateral"]
    assert decode_session_evidence(json.dumps(members).encode(), replace(domain, mode=0)) == domain
    with pytest.raises(EvidenceError):
        decode_session_evidence(fresh_document(chain=None), domain)
