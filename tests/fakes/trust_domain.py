# SPDX-License-Identifier: Apache-2.0
"""Simulated trust domains for tests, and good TDX evidence of which each test spoils one thing."""

from dataclasses import replace
from functools import cache

from attestation import binding
from attestation.binding import TeeOctet
from attestation.evidence import TDX, Claims, Evidence
from attestation.policy import Policy, SimulatedRoots, with_any_machine
from attestation.settings import ANY
from attestation.simulated.intel import SimulatedIntel, SimulatedTd, TdxSetting
from attestation.tdx.policy import TdMeasurement, TdxPolicy
from attestation.tdx.quote import parse_quote
from tests.fakes.hardware import CLAIMS, KEYS, MODEL, NOW, ORIGIN

SEED = b"a house of trust domains"


@cache
def domain(setting: TdxSetting | None = None) -> SimulatedTd:
    """A trust domain, started at NOW unless the setting says otherwise."""
    return SimulatedIntel(SEED).power_on(setting or TdxSetting(at=NOW))


def evidence(
    running: SimulatedTd | None = None,
    *,
    keys: bytes = KEYS,
    claims: Claims = CLAIMS,
    octet: TeeOctet = TeeOctet.SIMULATED,
) -> Evidence:
    """Evidence that `policy()` accepts."""
    running = running or domain()
    configuration = binding.configuration_hash(keys, claims.encode())
    data = binding.report_data(octet, binding.CACHED, configuration, binding.NO_FRESHNESS)
    quote, collateral = running.evidence_quote(data), running.collateral.encode()
    return Evidence(TDX, binding.CACHED, quote, (), b"", keys, claims.encode(), collateral)


def policy() -> Policy:
    """A policy that accepts `evidence()` at NOW."""
    body = parse_quote(domain().evidence_quote(bytes(64))).body
    rtmr0, rtmr1, rtmr2, rtmr3 = body.rtmrs
    measurement = TdMeasurement(body.mrtd, rtmr0, rtmr1, rtmr2, rtmr3)
    accepted = TdxPolicy(measurements=frozenset({measurement}), fmspcs=ANY, ppids=ANY)
    return replace(
        with_any_machine(Policy(frozenset(), frozenset(), frozenset({MODEL}))),
        audiences=frozenset({ORIGIN}),
        simulated_roots=SimulatedRoots(frozenset({domain().root_fingerprint})),
        tdx=accepted,
    )
