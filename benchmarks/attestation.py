# SPDX-License-Identifier: Apache-2.0
"""What one verification costs, beside other verifiers and the bare signatures, alternating in one run.

First: nothing at all is remembered. Cold: a new machine; another of the same vendor was judged before, so
what its authorities signed is known, and nothing about this one. Warm: the next report of it. `snp` and
`tdx` judge a report or quote, as the peers do; `document` judges what an enclave serves, keys and claims too.
The peers remember nothing. The evidence is simulated and the same for all, but for `sev_attest_tool`, which
takes a JSON form of its own and gets the sample that comes with it. No peer makes all the checks that ours
does. A floor is the signatures that have to be verified, and nothing else.
"""

import hashlib
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import dcap_qvl
import omne_attest
import sev_attest_tool
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from attestation import binding
from attestation.evidence import SEV_SNP, Claims, Evidence
from attestation.policy import AnyMachine, AnyModel, Policy, SimulatedRoots
from attestation.settings import AnyValue
from attestation.simulated.intel import SimulatedIntel, SimulatedTd, TdxSetting
from attestation.simulated.vendor import SimulatedVendor
from attestation.snp.report import Measurement
from attestation.tdx.collateral import decode_collateral
from attestation.tdx.platform import VerifiedPlatforms
from attestation.tdx.policy import TdMeasurement, TdxPolicy
from attestation.tdx.rules import appraise_quote
from attestation.verify import Caches, appraise, verify_snp_report
from benchmarks import _report as report
from enclave.keys import KeyRing

NOW = 1_790_000_000
ORIGIN = "https://llm.example"
REPORT_DATA = bytes(64)
WARMING_ROUNDS = 3
PEERS = ("omne_attest", "sev_attest_tool", "dcap_qvl")
# How many signatures there are. SNP: report, leaf, intermediate, root, list. TDX: quote, quoting enclave,
# leaf, intermediate, root, TCB signing certificate, two lists, two statements.
FLOORS = {
    "snp_first_floor": {"p384": 1, "rsa_pss": 4},
    "snp_cold_floor": {"p384": 1, "rsa_pss": 1},
    "snp_warm_floor": {"p384": 1},
    "tdx_first_floor": {"p256": 10},
    "tdx_cold_floor": {"p256": 3},
    "tdx_warm_floor": {"p256": 1},
}


def _nothing() -> None:
    """Come as you are."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What is measured, and what comes before it untimed."""

    run: Callable[[], object]
    before: Callable[[], object] = _nothing


def forget() -> None:
    """Empty what the verifier's functions remember from one call to the next."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("attestation.", "wire.")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def snp(folder: Path) -> dict[str, Verification]:
    """One SNP report, judged by each; the peers' own policies are as open as they can be."""
    vendor = SimulatedVendor.open(folder)
    guest, neighbour = (owner.power_on(bytes(48), now=NOW) for owner in (vendor, vendor.seeded(bytes(32))))
    keys = KeyRing(0).make_epoch(0).key_list
    claims = Claims(
        ORIGIN, bytes(32), 1, NOW + 600, NOW, bytes(32), 1, bytes(32), bytes(32), "benchmark"
    ).encode()
    data = binding.report_data(
        binding.TeeOctet.SIMULATED,
        binding.CACHED,
        binding.configuration_hash(keys, claims),
        binding.NO_FRESHNESS,
    )
    leaf, intermediate, root = guest.chain
    document = Evidence(
        SEV_SNP, binding.CACHED, guest.evidence_report(data), guest.chain, guest.crl, keys, claims
    )
    beside = replace(
        document, report=neighbour.evidence_report(data), chain=(neighbour.chain[0], intermediate, root)
    )
    policy = Policy(
        measurements=frozenset({Measurement(bytes(48))}),
        machines=AnyMachine.ANY_MACHINE,
        models=AnyModel.ANY_MODEL,
        audiences=frozenset({ORIGIN}),
        simulated_roots=SimulatedRoots(frozenset({vendor.root_fingerprint})),
    )
    remembered = Caches()
    wanted = omne_attest.Policy(measurement=bytes(48), report_data=data, max_vmpl=0, reject_debug=True)
    pinned = hashlib.sha256(root).digest()
    sample, certificate = sev_attest_tool.SAMPLE_ATTESTATION, sev_attest_tool.SAMPLE_VCEK

    def judge(judged: Evidence, caches: Caches | None) -> None:
        given = (judged.report, judged.chain, judged.crl)
        assert verify_snp_report(*given, policy, NOW, data, caches=caches).verified

    def read(caches: Caches | None) -> None:
        assert appraise(document, policy, NOW, caches).verified

    def judge_neighbour() -> None:
        forget()
        judge(beside, None)

    return {
        "snp_first": Verification(lambda: judge(document, None), forget),
        "snp_cold": Verification(lambda: judge(document, None), judge_neighbour),
        "snp_warm": Verification(lambda: judge(document, remembered)),
        "document_cold": Verification(lambda: read(None), judge_neighbour),
        "document_warm": Verification(lambda: read(remembered)),
        "omne_attest": Verification(
            lambda: omne_attest.verify(document.report, leaf, intermediate, root, pinned, wanted)
        ),
        "sev_attest_tool": Verification(
            lambda: sev_attest_tool.verify_attestation_report(sample, certificate)
        ),
    }


def tdx() -> dict[str, Verification]:
    """One TDX quote with its collateral, judged by both."""
    intel, setting = SimulatedIntel(b"benchmark"), TdxSetting(at=NOW)
    domain: SimulatedTd = intel.power_on(setting)
    other = intel.power_on(replace(setting, platform=replace(setting.platform, ppid=bytes(16))))
    quote, encoded = domain.evidence_quote(REPORT_DATA), domain.collateral.encode()
    beside = other.evidence_quote(REPORT_DATA)
    collateral = decode_collateral(encoded)
    fields = domain.fields.td
    measured = TdMeasurement(fields.mrtd, fields.rtmr0, fields.rtmr1, fields.rtmr2, fields.rtmr3)
    policy = TdxPolicy(measurements=frozenset({measured}), fmspcs=AnyValue.ANY, ppids=AnyValue.ANY)
    roots, remembered = frozenset({domain.root_fingerprint}), VerifiedPlatforms()
    theirs = dcap_qvl.QuoteCollateralV3.from_json(encoded.decode("ascii"))

    def judge(judged: bytes, platforms: VerifiedPlatforms | None) -> None:
        checks, _ = appraise_quote(judged, collateral, policy, roots, REPORT_DATA, NOW, platforms=platforms)
        assert all(check.ok for check in checks)

    def judge_neighbour() -> None:
        forget()
        judge(beside, None)

    return {
        "tdx_first": Verification(lambda: judge(quote, None), forget),
        "tdx_cold": Verification(lambda: judge(quote, None), judge_neighbour),
        "tdx_warm": Verification(lambda: judge(quote, remembered)),
        "dcap_qvl": Verification(lambda: dcap_qvl.verify_with_root_ca(quote, theirs, domain.root, NOW)),
    }


def bare() -> dict[str, Verification]:
    """The signatures alone, over as many bytes as a report has."""
    content, pss = bytes(0x2A0), padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)
    p384, p256 = (ec.generate_private_key(curve) for curve in (ec.SECP384R1(), ec.SECP256R1()))
    rsa4096 = rsa.generate_private_key(65537, 4096)
    by_p384 = p384.sign(content, ec.ECDSA(SHA384()))
    by_p256 = p256.sign(content, ec.ECDSA(SHA256()))
    by_rsa = rsa4096.sign(content, pss, SHA384())
    keys = p384.public_key(), p256.public_key(), rsa4096.public_key()
    return {
        "p384": Verification(lambda: keys[0].verify(by_p384, content, ec.ECDSA(SHA384()))),
        "p256": Verification(lambda: keys[1].verify(by_p256, content, ec.ECDSA(SHA256()))),
        "rsa_pss": Verification(lambda: keys[2].verify(by_rsa, content, pss, SHA384())),
    }


def measure(verifications: dict[str, Verification], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in verifications}
    for number in range(rounds + WARMING_ROUNDS):
        for name, verification in verifications.items():
            verification.before()
            start = time.perf_counter()
            verification.run()
            if number >= WARMING_ROUNDS:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) * 1000 for name, values in seconds.items()}


def main() -> int:
    """Measure, and print."""
    options = report.arguments(__doc__ or "", rounds=200)
    warnings.simplefilter("ignore")  # the peer's library warns of AMD's serial numbers
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name:
        found = measure(snp(Path(name) / "vendor") | tdx() | bare(), options.rounds)
    for floor, signatures in FLOORS.items():
        found[floor] = sum(count * found[kind] for kind, count in signatures.items())
    rows = [[verifier.replace("_", " "), f"{milliseconds:.3f}"] for verifier, milliseconds in found.items()]
    report.show(f"One verification, {options.rounds} rounds", ["verifier", "median ms"], rows)
    if options.json:
        peers = {name: round(found[name], 4) for name in PEERS}
        own = {f"{name}_ms": round(found[name], 4) for name in found if name not in PEERS}
        report.show_json({"benchmark": "attestation", **own, "peers": peers})
    return 0


if __name__ == "__main__":
    sys.exit(main())
