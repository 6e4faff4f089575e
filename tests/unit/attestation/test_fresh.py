# SPDX-License-Identifier: Apache-2.0
"""Evidence for one session request: its leaf, its place in the tree, no more (wire.md 6.3, mode 1)."""

from dataclasses import replace

import pytest

from attestation.binding import CACHED, FRESH
from attestation.evidence import Evidence
from attestation.verify import Untrusted, verify, verify_fresh
from tests.fakes.hardware import NOW, evidence, fresh_evidence, policy
from wire.merkle import Leaf, leaf

OWN = leaf(b"\1" * 32, b"session keys", b"enc")
OTHERS = tuple(leaf(bytes([number]) * 32, b"their keys", b"their enc") for number in (2, 3, 4))
BATCH = fresh_evidence(OWN, others=OTHERS)


@pytest.mark.parametrize("others", [(), OTHERS[:1], OTHERS])
def test_evidence_for_this_request_is_accepted(others: tuple[Leaf, ...]) -> None:
    judged = fresh_evidence(OWN, others=others)
    enclave = verify_fresh(judged, policy(), NOW, OWN)
    assert enclave.verdict.verified
    assert enclave.evidence == judged


@pytest.mark.parametrize(
    "own",
    [
        leaf(b"\2" * 32, b"session keys", b"enc"),
        leaf(b"\1" * 32, b"other keys", b"enc"),
        leaf(b"\1" * 32, b"session keys", b"other enc"),
        OTHERS[0],
    ],
)
def test_evidence_for_another_request_is_refused(own: Leaf) -> None:
    with pytest.raises(Untrusted, match=r"^report data binding: "):
        verify_fresh(BATCH, policy(), NOW, own)


@pytest.mark.parametrize(
    ("judged", "check"),
    [
        (replace(BATCH, index=2), "report data binding"),
        (replace(BATCH, index=4), "evidence form"),
        (replace(BATCH, path=BATCH.path[:1]), "evidence form"),
        (replace(BATCH, path=tuple(reversed(BATCH.path))), "report data binding"),
        (replace(BATCH, path=(), index=0), "report data binding"),
        (replace(BATCH, path=(bytes(31), bytes(32))), "evidence form"),
        (replace(evidence(), mode=FRESH), "report data binding"),
        (evidence(), "evidence form"),
    ],
)
def test_another_place_or_mode_is_refused(judged: Evidence, check: str) -> None:
    with pytest.raises(Untrusted, match=f"^{check}: "):
        verify_fresh(judged, policy(), NOW, OWN)


@pytest.mark.parametrize("judged", [BATCH, replace(BATCH, mode=CACHED, path=(), index=0)])
def test_evidence_for_one_request_is_none_for_everybody(judged: Evidence) -> None:
    with pytest.raises(Untrusted):
        verify(judged, policy(), NOW)


def test_a_root_of_zeros_is_no_root() -> None:
    """A report of cached mode has zeros in the place of R; no leaf leads there."""
    zeros = Leaf(bytes(32))
    with pytest.raises(Untrusted, match=r"^report data binding: "):
        verify_fresh(replace(evidence(), mode=FRESH), policy(), NOW, zeros)
