# SPDX-License-Identifier: Apache-2.0
"""The cache saves time and nothing else: it is found by content, bounded, and never asked about a date."""

from dataclasses import replace

import pytest

from attestation.cache import Cache, content_key
from attestation.evidence import Evidence
from attestation.policy import SimulatedRoots
from attestation.snp.case import NotCompared
from attestation.verify import (
    Caches,
    Expired,
    Untrusted,
    appraise,
    verify,
    verify_snp_report,
    verify_tdx_quote,
)
from tests.fakes import trust_domain
from tests.fakes.hardware import CLAIMS, NOW, evidence, guest, policy, vendor

DAY = 24 * 60 * 60


def test_what_was_kept_is_found_by_its_key_alone() -> None:
    cache = Cache[str](2)
    cache.keep(b"a", "first")
    assert cache.find(b"a") == "first"
    assert cache.find(b"b") is None


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    cache = Cache[int](2)
    cache.keep(b"a", 1)
    cache.keep(b"b", 2)
    assert cache.find(b"a") == 1
    cache.keep(b"c", 3)
    assert (cache.find(b"a"), cache.find(b"b"), cache.find(b"c")) == (1, None, 3)
    assert len(cache) == 2


def test_cache_without_room_keeps_nothing() -> None:
    cache = Cache[int](0)
    cache.keep(b"a", 1)
    assert (cache.find(b"a"), len(cache)) == (None, 0)


def test_parts_of_a_key_cannot_be_moved() -> None:
    assert len({content_key(b"ab", b"c"), content_key(b"a", b"bc"), content_key(b"abc"), content_key()}) == 4


def test_second_verdict_is_the_same_and_finds_chain_and_list() -> None:
    caches, judged = Caches(), evidence()
    first = appraise(judged, policy(), NOW, caches)
    assert (len(caches.snp.chains), len(caches.snp.revocation_lists)) == (1, 1)
    assert appraise(judged, policy(), NOW, caches) == first == appraise(judged, policy(), NOW)
    assert (len(caches.snp.chains), len(caches.snp.revocation_lists)) == (1, 1)


def test_reports_and_quotes_by_themselves_take_caches_too() -> None:
    caches, judged, domain = Caches(), evidence(), trust_domain.evidence()
    for _ in range(2):
        report = verify_snp_report(
            judged.report, judged.chain, judged.crl, policy(), NOW, judged.report[0x50:0x90], caches=caches
        )
        quote = verify_tdx_quote(
            domain.report,
            domain.collateral,
            trust_domain.policy(),
            NOW,
            NotCompared.NOT_COMPARED,
            caches=caches,
        )
        assert report.verified
        assert not quote.refused
        assert (len(caches.snp.chains), len(caches.snp.revocation_lists), len(caches.tdx)) == (1, 1, 1)


def test_key_list_is_kept_once_it_was_good_and_never_before() -> None:
    caches, judged = Caches(), evidence()
    assert appraise(replace(judged, keys=judged.keys[:-1]), policy(), NOW, caches).refused
    assert len(caches.key_lists) == 0
    first = verify(judged, policy(), NOW, caches).key_configurations
    assert len(caches.key_lists) == 1
    assert verify(judged, policy(), NOW, caches).key_configurations == first
    assert appraise(replace(judged, keys=judged.keys[:-1]), policy(), NOW, caches).refused


def test_dates_are_checked_at_each_use() -> None:
    caches, judged = Caches(), evidence()
    assert verify(judged, policy(), NOW, caches).verdict.verified
    late = replace(policy(), max_validity_seconds=10**9, clock_skew_seconds=10**9)
    for now in (NOW + 31 * DAY, NOW + 8 * 365 * DAY, NOW - 30 * DAY):
        with pytest.raises(Expired):
            verify(judged, late, now, caches)


def test_policy_and_report_are_checked_at_each_use() -> None:
    caches, judged = Caches(), evidence()
    verify(judged, policy(), NOW, caches)
    with pytest.raises(Untrusted, match="trust anchor"):
        verify(judged, replace(policy(), simulated_roots=SimulatedRoots(frozenset())), NOW, caches)
    tampered = replace(judged, report=judged.report[:0x90] + b"\x01" + judged.report[0x91:])
    with pytest.raises(Untrusted, match="report signature"):
        verify(tampered, policy(), NOW, caches)


def test_revocation_reaches_a_chain_that_was_good_before() -> None:
    caches, judged = Caches(), evidence()
    verify(judged, policy(), NOW, caches)
    revoked = replace(judged, crl=vendor().revocation_list(now=NOW, revoked=(0x20002,)))
    with pytest.raises(Untrusted, match="revocation"):
        verify(revoked, policy(), NOW, caches)


def spoiled() -> list[Evidence]:
    judged = evidence()
    broken = judged.chain[0][:-1] + bytes((judged.chain[0][-1] ^ 1,))
    return [
        replace(judged, chain=(broken, *judged.chain[1:])),
        replace(judged, chain=judged.chain[:2]),
        replace(judged, crl=guest("attacker").crl, chain=judged.chain[:2]),
    ]


@pytest.mark.parametrize("judged", spoiled())
def test_what_is_not_proven_is_not_kept(judged: Evidence) -> None:
    caches = Caches()
    assert appraise(judged, policy(), NOW, caches).refused
    assert len(caches.snp.chains) == 0


def test_list_is_kept_for_the_root_that_signed_it() -> None:
    caches, other = Caches(), guest("attacker")
    verify(evidence(), policy(), NOW, caches)
    swapped = replace(evidence(other), crl=evidence().crl)
    assert "revocation" in {check.name for check in appraise(swapped, policy(), NOW, caches).failures}


def test_platforms_of_trust_domains_are_kept_too() -> None:
    caches, judged = Caches(), trust_domain.evidence()
    first = appraise(judged, trust_domain.policy(), NOW, caches)
    assert first.verified
    assert len(caches.tdx) == 1
    assert appraise(judged, trust_domain.policy(), NOW, caches) == first
    assert appraise(judged, trust_domain.policy(), CLAIMS.expires_at + 40 * DAY, caches).refused
