# SPDX-License-Identifier: Apache-2.0
"""Simulated machines for tests, and good evidence of which each test spoils one thing."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from attestation import binding
from attestation.binding import TeeOctet
from attestation.evidence import SEV_SNP, Claims, Evidence
from attestation.policy import Measurement, Policy, SimulatedRoots
from attestation.simulated.intel import SimulatedIntel, SimulatedTd, TdxSetting
from attestation.simulated.snp import ReportFields, SimulatedGuest
from attestation.simulated.vendor import SimulatedVendor
from attestation.verdict import Verdict
from attestation.verify import appraise
from enclave.report_protocol import Signed
from wire import ohttp
from wire.aead import Aead
from wire.hpke import Kdf
from wire.kem import Kem
from wire.merkle import Leaf, Tree

NOW = 1_790_000_000
ORIGIN = "https://llm.example"
MEASUREMENT = Measurement(bytes(range(48)))
MODEL = bytes([7]) * 32

KEYS = ohttp.encode_key_list(
    (
        ohttp.KeyConfiguration(
            key_id=0x80,
            kem=Kem.X25519,
            public_key=bytes([9]) + bytes(31),
            suites=((Kdf.HKDF_SHA256, Aead.AES_128_GCM),),
        ),
    )
)
CLAIMS = Claims(
    audience=ORIGIN,
    configuration=bytes([1]) * 32,
    epoch=3,
    expires_at=NOW + 1200,
    issued_at=NOW,
    model=MODEL,
    minimum_version=1,
    receipt_key=bytes([2]) * 32,
    release=bytes(32),
    deployment="living-room",
)


def vendor(name: str = "house") -> SimulatedVendor:
    """A vendor that lasts for the whole test run: its RSA keys take a second to make."""
    return _vendor(name)


def guest(name: str = "house") -> SimulatedGuest:
    """A guest with MEASUREMENT, started at NOW."""
    return _guest(name)


@cache
def _vendor(name: str) -> SimulatedVendor:
    folder = Path(tempfile.mkdtemp(prefix="sottovoce-test-"))
    atexit.register(shutil.rmtree, folder)
    return SimulatedVendor.open(folder / name)


@cache
def _guest(name: str) -> SimulatedGuest:
    return vendor(name).power_on(MEASUREMENT, now=NOW)


def intel(name: str = "house") -> SimulatedIntel:
    """A vendor in Intel's place, the same in every run."""
    return SimulatedIntel(name.encode("ascii"))


def trust_domain(setting: TdxSetting | None = None, name: str = "house") -> SimulatedTd:
    """A trust domain with MEASUREMENT, started at NOW unless the setting says otherwise."""
    return intel(name).power_on(setting or td_setting())


def td_setting() -> TdxSetting:
    """A good setting, for `dataclasses.replace` or a knob of `attestation.simulated.tdx_knobs` to spoil."""
    return TdxSetting(NOW)


@dataclass(frozen=True, slots=True)
class ReportSource:
    """What an enclave asks for reports, on this machine."""

    machine: SimulatedGuest

    def signed_report(self, report_data: bytes) -> Signed:
        """A report, with the endorsements."""
        machine = self.machine
        return Signed(SEV_SNP, machine.evidence_report(report_data), machine.chain, machine.crl)


def as_it_is(fields: ReportFields) -> ReportFields:
    """Spoil nothing."""
    return fields


def evidence(
    machine: SimulatedGuest | None = None,
    *,
    keys: bytes = KEYS,
    claims: Claims = CLAIMS,
    octet: TeeOctet = TeeOctet.SIMULATED,
    spoil: Callable[[ReportFields], ReportFields] = as_it_is,
) -> Evidence:
    """Evidence that `policy()` accepts, but for what `spoil` does to its report before that is signed."""
    machine = machine or guest()
    configuration = binding.configuration_hash(keys, claims.encode())
    data = binding.report_data(octet, binding.CACHED, configuration, binding.NO_FRESHNESS)
    report = machine.sign(spoil(replace(machine.fields, report_data=data)))
    return Evidence(SEV_SNP, binding.CACHED, report, machine.chain, machine.crl, keys, claims.encode())


def fresh_evidence(
    own: Leaf,
    *,
    others: tuple[Leaf, ...] = (),
    machine: SimulatedGuest | None = None,
    keys: bytes = KEYS,
    claims: Claims = CLAIMS,
) -> Evidence:
    """Evidence for the session request of this leaf, which is the last in a tree of a power of two."""
    tree = Tree((*others, own))
    configuration = binding.configuration_hash(keys, claims.encode())
    data = binding.report_data(TeeOctet.SIMULATED, binding.FRESH, configuration, tree.root)
    good = evidence(machine, keys=keys, claims=claims, spoil=lambda fields: replace(fields, report_data=data))
    return replace(good, mode=binding.FRESH, path=tree.path(len(others)), index=len(others))


def policy() -> Policy:
    """A policy that accepts `evidence()` at NOW."""
    return Policy(
        measurements=frozenset({MEASUREMENT}),
        machines=frozenset({vendor().chip_id}),
        models=frozenset({MODEL}),
        audiences=frozenset({ORIGIN}),
        simulated_roots=SimulatedRoots(frozenset({vendor().root_fingerprint})),
    )


def failed(verdict: Verdict) -> list[str]:
    """The names of the checks that were made and failed."""
    return [check.name for check in verdict.failures if check.evaluated]


def judge(judged: Evidence, accepted: Policy | None = None, now: int = NOW) -> list[str]:
    """The names of the checks that fail for this evidence."""
    return failed(appraise(judged, accepted or policy(), now))
