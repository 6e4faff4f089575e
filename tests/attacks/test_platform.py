# SPDX-License-Identifier: Apache-2.0
"""What a policy can demand of an SEV-SNP guest and its machine, and hosts that do not fulfil it."""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import pytest

from attestation.evidence import Evidence
from attestation.policy import AnyMachine, Policy, Product, SimulatedRoots, SnpPolicy
from attestation.settings import ANY, AnyValue, Requirement
from attestation.simulated.snp import ReportFields
from attestation.snp.certificates import parse_chain
from attestation.snp.report import GuestPolicy, PlatformInfo, SigningKey
from attestation.verdict import Check, Outcome
from attestation.verify import appraise
from attestation.x509 import parse_certificate
from tests.fakes.hardware import MEASUREMENT, NOW, evidence, judge, policy, vendor

Spoil = Callable[[ReportFields], ReportFields]
REQUIRED, FORBIDDEN = Requirement.REQUIRED, Requirement.FORBIDDEN


def demanding(demand: SnpPolicy) -> Policy:
    return replace(policy(), snp=demand)


def check(judged: Evidence, name: str, accepted: Policy | None = None) -> Check:
    verdict = appraise(judged, accepted or policy(), NOW)
    return next(check for check in verdict.checks if check.name == name)


@pytest.mark.parametrize("bit", [bit for bit in PlatformInfo if bit is not PlatformInfo.ALIAS_CHECK_COMPLETE])
def test_platform_bit_can_be_required_forbidden_or_either(bit: PlatformInfo) -> None:
    on = evidence(spoil=lambda fields: replace(fields, platform_info=fields.platform_info | bit))
    off = evidence(spoil=lambda fields: replace(fields, platform_info=fields.platform_info & ~bit))
    for wish, accepted, refused in ((REQUIRED, on, off), (FORBIDDEN, off, on)):
        demand = demanding(SnpPolicy(platform=MappingProxyType({bit: wish})))
        assert judge(accepted, demand) == []
        assert judge(refused, demand) == ["platform info"]
    assert judge(on) == judge(off) == []


def test_alias_check_is_required_unless_the_policy_says_otherwise() -> None:
    unchecked = evidence(spoil=lambda fields: replace(fields, platform_info=PlatformInfo.SMT))
    assert judge(unchecked) == ["alias check"]
    demand = demanding(SnpPolicy(platform=MappingProxyType({})))
    assert judge(unchecked, demand) == []
    assert check(unchecked, "alias check", demand).outcome is Outcome.NOTED


@pytest.mark.parametrize("unknown", [1 << 8, 1 << 63])
def test_unknown_platform_bit_is_reported_and_not_refused(unknown: int) -> None:
    """Genuine machines set bits before anybody else hears of them (attestation.md 8)."""
    judged = evidence(spoil=lambda fields: replace(fields, platform_info=fields.platform_info | unknown))
    assert judge(judged) == []
    found = check(judged, "platform info")
    assert found.outcome is Outcome.NOTED
    assert f"unknown bits {unknown:#x}" in found.found


@pytest.mark.parametrize(
    "bit", [GuestPolicy.SINGLE_SOCKET, GuestPolicy.PAGE_SWAP_DISABLED, GuestPolicy.CXL, GuestPolicy.SMT]
)
def test_guest_policy_bit_can_be_required_forbidden_or_either(bit: GuestPolicy) -> None:
    on = evidence(spoil=lambda fields: replace(fields, policy=fields.policy | bit))
    off = evidence(spoil=lambda fields: replace(fields, policy=fields.policy & ~bit))
    for wish, accepted, refused in ((REQUIRED, on, off), (FORBIDDEN, off, on), (Requirement.ANY, on, on)):
        demand = demanding(SnpPolicy(guest_policy=MappingProxyType({bit: wish})))
        assert judge(accepted, demand) == []
        assert judge(refused, demand) == ([] if wish is Requirement.ANY else ["guest policy"])
    assert judge(on) == judge(off) == []


def test_guest_that_allows_an_old_firmware_interface() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, policy=fields.policy | 0x0139))
    assert judge(judged, demanding(SnpPolicy(abi=(1, 58)))) == ["guest policy abi"]
    assert judge(judged, demanding(SnpPolicy(abi=(1, 57)))) == []
    assert judge(judged, demanding(SnpPolicy(abi=(2, 0)))) == ["guest policy abi"]


@pytest.mark.parametrize(
    ("launch", "current", "accepted"), [(3, 3, True), (7, 3, True), (1, 3, False), (3, 2, False)]
)
def test_firmware_without_a_required_mitigation(launch: int, current: int, accepted: bool) -> None:
    judged = evidence(
        spoil=lambda fields: replace(
            fields, version=5, launch_mitigations=launch, current_mitigations=current
        )
    )
    assert judge(judged, demanding(SnpPolicy(mitigations=3))) == ([] if accepted else ["mitigations"])
    assert judge(judged) == []


def test_report_too_old_to_state_mitigations_fails_where_one_is_required() -> None:
    assert judge(evidence(), demanding(SnpPolicy(mitigations=1))) == ["mitigations"]
    assert "none stated in version 3" in check(evidence(), "mitigations").found


def test_host_rolls_back_an_image_that_its_owner_signed() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, guest_svn=3))
    assert judge(judged, demanding(SnpPolicy(guest_svn=4))) == ["guest svn"]
    assert judge(judged, demanding(SnpPolicy(guest_svn=3))) == []


Demand = Callable[[frozenset[bytes] | AnyValue], SnpPolicy]
Change = Callable[[ReportFields, bytes], ReportFields]
IDENTITIES: dict[str, tuple[Demand, Change, int]] = {
    "family id": (
        lambda accepted: SnpPolicy(family_ids=accepted),
        lambda fields, value: replace(fields, family_id=value),
        16,
    ),
    "image id": (
        lambda accepted: SnpPolicy(image_ids=accepted),
        lambda fields, value: replace(fields, image_id=value),
        16,
    ),
    "id key": (
        lambda accepted: SnpPolicy(id_key_digests=accepted),
        lambda fields, value: replace(fields, id_key_digest=value),
        48,
    ),
    "host data": (
        lambda accepted: SnpPolicy(host_data=accepted),
        lambda fields, value: replace(fields, host_data=value),
        32,
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_host_starts_the_guest_with_another_identity(name: str) -> None:
    demand, change, size = IDENTITIES[name]
    known = bytes([5]) * size
    judged = evidence(spoil=lambda fields: change(fields, known))
    assert judge(judged, demanding(demand(frozenset({known, bytes(size)})))) == []
    assert judge(judged, demanding(demand(ANY))) == []
    assert judge(judged, demanding(demand(frozenset({bytes(size)})))) == [name]
    assert judge(judged, demanding(demand(frozenset()))) == [name]


def test_author_key_counts_only_where_it_was_used() -> None:
    known = bytes([6]) * 48
    named = demanding(SnpPolicy(author_key_digests=frozenset({known})))
    used = evidence(spoil=lambda fields: replace(fields, key_info=1, author_key_digest=known))
    unused = evidence(spoil=lambda fields: replace(fields, author_key_digest=known))
    assert judge(used, named) == []
    assert judge(unused, named) == ["author key"]
    assert judge(unused) == []
    assert judge(used, demanding(SnpPolicy(author_key_digests=frozenset({bytes(48)})))) == ["author key"]


def test_migration_agent_can_be_named() -> None:
    agent = bytes([7]) * 32
    judged = evidence(
        spoil=lambda fields: replace(
            fields, policy=fields.policy | GuestPolicy.MIGRATION_AGENT, report_id_ma=agent
        )
    )
    assert judge(judged) == ["migration agent"]
    assert judge(judged, demanding(SnpPolicy(migration_agents=frozenset({agent})))) == []
    assert judge(judged, demanding(SnpPolicy(migration_agents=frozenset({bytes(32)})))) == ["migration agent"]


def test_less_privileged_level_can_be_named() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, vmpl=1))
    assert judge(judged, demanding(SnpPolicy(vmpls=frozenset({0, 1})))) == []
    assert judge(judged, demanding(SnpPolicy(vmpls=frozenset()))) == ["vmpl"]


def test_host_could_go_back_to_older_firmware() -> None:
    committed = bytes.fromhex("0a00000000001854")
    judged = evidence(spoil=lambda fields: replace(fields, committed_tcb=committed))
    assert judge(judged) == []
    assert check(judged, "firmware rollback").outcome is Outcome.NOTED
    assert check(evidence(), "firmware rollback").outcome is Outcome.PASSED


def test_masked_identity_needs_an_opt_in_and_the_certificate_still_names_the_chip() -> None:
    masked = evidence(spoil=lambda fields: replace(fields, chip_id=bytes(64)))
    accepted = demanding(SnpPolicy(accept_masked_chip_id=True))
    assert judge(masked) == ["chip identity"]
    assert judge(masked, accepted) == []
    assert check(masked, "chip identity", accepted).outcome is Outcome.NOTED
    assert judge(masked, replace(accepted, machines=frozenset({bytes(64)}))) == ["machine"]


def provided(spoil: Spoil) -> Evidence:
    setting = vendor().setting(MEASUREMENT, at=NOW, signing_key=SigningKey.VLEK)
    machine = vendor().start(setting)
    return evidence(machine, spoil=spoil)


def test_provider_key_is_accepted_where_its_provider_is_named() -> None:
    judged = provided(lambda fields: fields)
    provider = parse_chain(judged.chain).leaf.provider
    assert provider
    masked = not any(judged.report[0x1A0:0x1E0])
    demand = SnpPolicy(providers=frozenset({provider}), accept_masked_chip_id=masked)
    anywhere = replace(demanding(demand), machines=AnyMachine.ANY_MACHINE)
    assert judge(judged, anywhere) == []
    assert judge(judged, replace(anywhere, snp=replace(demand, providers=ANY))) == []
    assert judge(judged, replace(anywhere, snp=replace(demand, providers=frozenset()))) == ["provider"]
    assert judge(judged, replace(anywhere, snp=replace(demand, providers=frozenset({"CN=x"})))) == [
        "provider"
    ]


def test_chip_signs_as_the_provider_and_the_provider_as_the_chip() -> None:
    claimed = replace(
        demanding(SnpPolicy(providers=ANY, accept_masked_chip_id=True)), machines=AnyMachine.ANY_MACHINE
    )
    assert judge(provided(lambda fields: replace(fields, key_info=0)), claimed) == ["signing key"]
    assert judge(evidence(spoil=lambda fields: replace(fields, key_info=1 << 2)), claimed) == ["signing key"]


def test_masked_chip_of_a_provider_is_in_no_list_of_machines() -> None:
    judged = provided(lambda fields: replace(fields, chip_id=bytes(64)))
    demand = demanding(SnpPolicy(providers=ANY, accept_masked_chip_id=True))
    assert judge(judged, demand) == ["machine"]
    assert judge(judged, replace(demand, machines=frozenset({bytes(64), b""}))) == ["machine"]


def test_vendor_revokes_the_leaf() -> None:
    """All leaves of an issuer have serial 0, so this entry withdraws every one of them."""
    setting = replace(vendor().setting(MEASUREMENT, at=NOW), revokes_leaf=True)
    judged = replace(evidence(), crl=vendor().start(setting).crl)
    assert judge(judged) == ["revocation"]
    assert check(judged, "revocation").found == "SEV-VCEK revoked"


@pytest.mark.parametrize("product", list(Product))
@pytest.mark.parametrize("version", [3, 4, 5])
def test_every_product_and_version_is_verified(product: Product, version: int) -> None:
    machine = vendor().start(vendor().setting(MEASUREMENT, at=NOW, product=product, version=version))
    root = parse_certificate(machine.chain[2]).fingerprint
    accepted = replace(
        policy(),
        machines=frozenset({machine.chip_id}),
        products=frozenset({product}),
        simulated_roots=SimulatedRoots(frozenset({root})),
    )
    judged = evidence(machine)
    assert judge(judged, accepted) == []
    assert judge(judged, replace(accepted, products=frozenset(Product) - {product})) == ["product"]
    assert ("arXiv" in check(judged, "product", accepted).found) == (product is Product.MILAN)
