# SPDX-License-Identifier: Apache-2.0
"""A policy accepts what it names, and its text has no room for mistakes."""

from dataclasses import replace

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
    Tcb,
    TcbFloors,
    default_policy,
    parse_policy,
    render_policy,
    with_audience,
)

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
)


@pytest.mark.parametrize("policy", [FULL, default_policy(), parse_policy(MINIMAL)])
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
