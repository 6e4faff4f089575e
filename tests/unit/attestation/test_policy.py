# SPDX-License-Identifier: Apache-2.0
"""A policy accepts what it names, and its text has no room for mistakes."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from attestation.policy import (
    AMD_ROOTS,
    AnyMachine,
    AnyModel,
    Measurement,
    Policy,
    PolicyError,
    Product,
    SimulatedRoots,
    SnpPolicy,
    Tcb,
    TcbFloors,
    TdxPolicy,
    default_policy,
    parse_policy,
    render_policy,
    with_any_machine,
    with_audience,
)
from attestation.settings import ANY, Requirement
from attestation.snp.report import GuestPolicy, PlatformInfo
from attestation.tdx.certificates import PlatformFlag
from attestation.tdx.collateral import TcbStatus
from attestation.tdx.policy import TdMeasurement
from attestation.tdx.quote import TdAttributes

MINIMAL = """
version = 1
measurements = []
machines = "any"
models = "any"
"""

FULL = Policy(
    measurements=frozenset({Measurement(bytes(48)), Measurement(bytes([1]) * 48)}),
    machines=frozenset({bytes([2]) * 64}),
    models=frozenset({bytes([3]) * 32}),
    audiences=frozenset({"http://localhost:8080", "https://[::1]"}),
    products=frozenset(Product),
    simulated_roots=SimulatedRoots(frozenset({bytes([4]) * 32})),
    tcb_floors=TcbFloors(genoa=Tcb(0, 1, 2, 3, 4), turin=Tcb(5, 4, 3, 2, 1)),
    max_validity_seconds=600,
    clock_skew_seconds=0,
    unsafe_allow_debug=True,
    snp=SnpPolicy(
        vmpls=frozenset({0, 1}),
        migration_agents=frozenset({bytes([5]) * 32}),
        accept_masked_chip_id=True,
        providers=frozenset({"CN=cc-us-east-2.amazonaws.com"}),
        platform=MappingProxyType(
            {PlatformInfo.TSME: Requirement.REQUIRED, PlatformInfo.SMT: Requirement.FORBIDDEN}
        ),
        guest_policy=MappingProxyType({GuestPolicy.PAGE_SWAP_DISABLED: Requirement.REQUIRED}),
        abi=(1, 58),
        mitigations=0x3F,
        guest_svn=4,
        family_ids=frozenset({bytes(16)}),
        image_ids=frozenset(),
        id_key_digests=frozenset({bytes([6]) * 48}),
        author_key_digests=frozenset({bytes([7]) * 48}),
        host_data=frozenset({bytes([8]) * 32, bytes(32)}),
    ),
    tdx=TdxPolicy(
        measurements=frozenset(
            {TdMeasurement(bytes([value]) * 48, bytes(48), ANY, bytes(48), ANY) for value in range(2)}
        ),
        fmspcs=frozenset({bytes(6)}),
        ppids=ANY,
        accepted_statuses=frozenset({TcbStatus.UP_TO_DATE, TcbStatus.SW_HARDENING_NEEDED}),
        tolerated_advisories=frozenset({"INTEL-SA-00615"}),
        minimum_evaluation_data_number=17,
        max_collateral_age_seconds=86400,
        allowed_attributes=TdAttributes.PERFMON,
        allow_sept_ve_off=True,
        allowed_service_tds=frozenset({bytes([9]) * 48}),
        mrconfigids=ANY,
        xfam=bytes(8),
        platform_flags=frozenset({PlatformFlag.SMT_ENABLED}),
    ),
)

VENDORS = (
    MINIMAL
    + """
[snp]
providers = "any"
image_ids = ["00112233445566778899aabbccddeeff"]
[snp.platform]
alias_check_complete = "any"
[tdx]
allowed_attributes = []
"""
)


@pytest.mark.parametrize("policy", [FULL, default_policy(), parse_policy(MINIMAL), parse_policy(VENDORS)])
def test_policies_round_trip(policy: Policy) -> None:
    assert parse_policy(render_policy(policy)) == policy


def test_default_policy_names_nothing_it_expects() -> None:
    policy = default_policy()
    assert not policy.measurements
    assert policy.machines == frozenset[bytes]()
    assert policy.models == frozenset[bytes]()
    assert not policy.audiences
    assert policy.simulated_roots == SimulatedRoots(frozenset())
    assert policy.products == {Product.GENOA, Product.TURIN}
    assert not policy.unsafe_allow_debug


def test_minimal_policy_takes_the_safe_defaults() -> None:
    expected = replace(default_policy(), machines=AnyMachine.ANY_MACHINE, models=AnyModel.ANY_MODEL)
    assert parse_policy(MINIMAL) == expected


def test_floor_of_one_component_keeps_the_others() -> None:
    floors = parse_policy(MINIMAL + "[tcb.genoa]\nsnp = 27").tcb_floors
    assert floors == TcbFloors(genoa=replace(TcbFloors().genoa, snp=27))
    assert floors.of(Product.GENOA) == floors.genoa


def test_audience_is_added_to_the_others() -> None:
    policy = with_audience(with_audience(default_policy(), "https://a.example"), "http://localhost:8080")
    assert policy.audiences == {"https://a.example", "http://localhost:8080"}


@pytest.mark.parametrize(
    "origin",
    ["", "a.example", "https://a.example/", "https://A.example", "ftp://a", 'https://a"', "https://a:1b"],
)
def test_audience_is_an_origin(origin: str) -> None:
    with pytest.raises(PolicyError, match="origin"):
        with_audience(default_policy(), origin)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("measurement = []", "no setting measurement"),
        ("products = ['rome']", "rome"),
        ("products = 'genoa'", "list"),
        ("products = ['genoa', 'genoa']", "different"),
        ("products = [1]", "texts"),
        ("audiences = ['localhost']", "origin"),
        ("max_validity_seconds = -1", "integer"),
        ("max_validity_seconds = true", "integer"),
        ("clock_skew_seconds = 1.5", "integer"),
        ("unsafe_allow_debug = 1", "true or false"),
        ("simulated = []", "table"),
        ("[simulated]", "needs roots"),
        ("[simulated]\nroots = ['00']", "64 lower case"),
        ("[simulated]\nroots = []\nmore = 1", "no setting more"),
        (f"[simulated]\nroots = ['{AMD_ROOTS[Product.GENOA].hex()}']", "one of AMD's"),
        ("[tcb.rome]\nsnp = 1", "no setting rome"),
        ("[tcb.genoa]\nfmc = 1", "no setting fmc"),
        ("[tcb.genoa]\nsnp = 256", "up to 255"),
        ("[tcb]\ngenoa = 1", "table"),
        ("version = 1", "TOML"),
    ],
)
def test_other_settings_are_refused(line: str, complaint: str) -> None:
    with pytest.raises(PolicyError, match=complaint):
        parse_policy(MINIMAL + line)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("version = 1", "version = 2", "version 1"),
        ("version = 1", "", "needs version"),
        ("measurements = []", "", "needs measurements"),
        ("measurements = []", "measurements = 'any'", "list"),
        ("measurements = []", f"measurements = ['{'AA' * 48}']", "lower case"),
        ('machines = "any"', "machines = 'all'", "list"),
        ('machines = "any"', f"machines = ['{'00' * 63}']", "128"),
        ('models = "any"', "models = ['x']", "64"),
    ],
)
def test_required_settings_are_required(old: str, new: str, complaint: str) -> None:
    with pytest.raises(PolicyError, match=complaint):
        parse_policy(MINIMAL.replace(old, new))


def test_fingerprints_have_their_size() -> None:
    with pytest.raises(PolicyError, match="32 bytes"):
        SimulatedRoots(frozenset({b""}))


def test_any_machine_is_any_place_of_either_vendor() -> None:
    policy = with_any_machine(default_policy())
    assert policy.machines is AnyMachine.ANY_MACHINE
    assert policy.tdx.fmspcs is policy.tdx.ppids is ANY


def test_defaults_of_both_vendors() -> None:
    policy = parse_policy(MINIMAL)
    assert policy.snp == SnpPolicy()
    assert policy.snp.platform == {PlatformInfo.ALIAS_CHECK_COMPLETE: Requirement.REQUIRED}
    assert policy.tdx == default_policy().tdx


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("[snp]\nvmpl = 1", "no setting vmpl"),
        ("[snp]\nvmpls = 1", "expected a list as snp.vmpls"),
        ("[snp]\nvmpls = [4]", "different integers up to 3"),
        ("[snp]\nvmpls = [1, 1]", "different integers"),
        ("[snp]\nabi = 1.58", "a version such as"),
        ('[snp]\nabi = "1"', "a version such as"),
        ("[snp]\nmitigations = 0x10000000000000000", "an integer up to 0xffffffffffffffff"),
        ("[snp]\nguest_svn = 0x100000000", "an integer up to"),
        ('[snp]\nhost_data = ["00"]', "64 lower case hexadecimal"),
        ("[snp]\naccept_masked_chip_id = 1", "true or false"),
        ('[snp.platform]\nsmt = "off"', '"required", "forbidden" or "any" as snp.platform.smt'),
        ('[snp.platform]\ndebug = "any"', "no setting debug"),
        ('[snp.guest_policy]\ndebug = "any"', "no setting debug"),
        ("snp = 1", "expected a table as snp"),
        ("[tdx]\nmrtd = 1", "no setting mrtd"),
        ("[tdx]\nmeasurements = 1", r"expected \[\[tdx.measurements\]\]"),
        ("[[tdx.measurements]]\nrtmr0 = 1", "needs mrtd"),
        ('[tdx]\naccepted_statuses = ["Fine"]', "accepted_statuses among UpToDate"),
        ('[tdx]\naccepted_statuses = ["Revoked"]', "cannot be accepted"),
        ('[tdx]\nallowed_attributes = ["migrate"]', "attributes among debug"),
        ('[tdx]\nallowed_attributes = ["debug"]', "not among the allowed"),
        ('[tdx]\nxfam = "00"', "16 lower case hexadecimal"),
    ],
)
def test_other_settings_of_a_vendor_are_errors(setting: str, complaint: str) -> None:
    with pytest.raises(PolicyError, match=complaint):
        parse_policy(f"{MINIMAL}\n{setting}\n")
