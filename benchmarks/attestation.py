# SPDX-License-Identifier: Apache-2.0
"""What one verification costs, cold and warm, beside other verifiers, alternating in one run.

Cold is a new machine, of which nothing is remembered; warm is the next report of it. The evidence
is simulated and the same for all, but for `sev_attest_tool`, which takes a JSON form of its own and gets the
sample that comes with it. No peer makes all the checks that ours does.
"""

import hashlib
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import dcap_qvl
import omne_attest
import sev_attest_tool

from attestation import binding
from attestation.evidence import SEV_SNP, Claims, Evidence
from attestation.policy import AnyModel, Policy, SimulatedRoots
from attestation.settings import AnyValue
from attestation.simulated.intel import SimulatedIntel, SimulatedTd, TdxSetting
from attestation.simulated.vendor import SimulatedVendor
from attestation.snp.report import Measurement
from attestation.tdx.collateral import decode_collateral
from attestation.tdx.platform import VerifiedPlatforms
from attestation.tdx.policy import TdMeasurement, TdxPolicy
from attestation.tdx.rules import appraise_quote
from attestation.verify import Caches, appraise
from benchmarks import _report as report
from enclave.keys import KeyRing

NOW = 1_790_000_000
ORIGIN = "https://llm.example"
REPORT_DATA = bytes(64)
WARMING_ROUNDS = 3
Verification = Callable[[], None]


def snp(folder: Path) -> dict[str, Verification]:
    """One SNP report, judged by each; the peers' own policies are as open as they can be."""
    vendor = SimulatedVendor.open(folder)
    guest = vendor.power_on(bytes(48), now=NOW)
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
    signed = guest.evidence_report(data)
    evidence = Evidence(SEV_SNP, binding.CACHED, signed, guest.chain, guest.crl, keys, claims)
    policy = Policy(
        measurements=frozenset({Measurement(bytes(48))}),
        machines=frozenset({vendor.chip_id}),
        models=AnyModel.ANY_MODEL,
        audiences=frozenset({ORIGIN}),
        simulated_roots=SimulatedRoots(frozenset({vendor.root_fingerprint})),
    )
    remembered = Caches()
    leaf, intermediate, root = guest.chain
    pinned = hashlib.sha256(root).digest()
    wanted = omne_attest.Policy(measurement=bytes(48), report_data=data, max_vmpl=0, reject_debug=True)
    sample = sev_attest_tool.SAMPLE_ATTESTATION
    certificate = sev_attest_tool.SAMPLE_VCEK

    def ours(caches: Caches | None) -> None:
        assert appraise(evidence, policy, NOW, caches).verified

    return {
        "snp_cold": lambda: ours(None),
        "snp_warm": lambda: ours(remembered),
        "omne_attest": lambda: omne_attest.verify(signed, leaf, intermediate, root, pinned, wanted),
        "sev_attest_tool": lambda: sev_attest_tool.verify_attestation_report(sample, certificate),
    }


def tdx() -> dict[str, Verification]:
    """One TDX quote with its collateral, judged by both."""
    domain: SimulatedTd = SimulatedIntel(b"benchmark").power_on(TdxSetting(at=NOW))
    quote, encoded = domain.evidence_quote(REPORT_DATA), domain.collateral.encode()
    collateral = decode_collateral(encoded)
    fields = domain.fields.td
    measured = TdMeasurement(fields.mrtd, fields.rtmr0, fields.rtmr1, fields.rtmr2, fields.rtmr3)
    policy = TdxPolicy(measurements=frozenset({measured}), fmspcs=AnyValue.ANY, ppids=AnyValue.ANY)
    roots, remembered = frozenset({domain.root_fingerprint}), VerifiedPlatforms()
    theirs = dcap_qvl.QuoteCollateralV3.from_json(encoded.decode("ascii"))

    def ours(platforms: VerifiedPlatforms | None) -> None:
        checks, _ = appraise_quote(quote, collateral, policy, roots, REPORT_DATA, NOW, platforms=platforms)
        assert all(check.ok for check in checks)

    return {
        "tdx_cold": lambda: ours(None),
        "tdx_warm": lambda: ours(remembered),
        "dcap_qvl": lambda: _discard(dcap_qvl.verify_with_root_ca(quote, theirs, domain.root, NOW)),
    }


def _discard(_result: object) -> None:
    """A verification's result is not looked at here."""


def measure(verifications: dict[str, Verification], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in verifications}
    for number in range(rounds + WARMING_ROUNDS):
        for name, verification in verifications.items():
            start = time.perf_counter()
            verification()
            if number >= WARMING_ROUNDS:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) * 1000 for name, values in seconds.items()}


def main() -> int:
    """Measure, and print."""
    options = report.arguments(__doc__ or "", rounds=200)
    warnings.simplefilter("ignore")  # the peer's library warns of AMD's serial numbers
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name:
        found = measure(snp(Path(name) / "vendor") | tdx(), options.rounds)
    rows = [[verifier.replace("_", " "), f"{milliseconds:.3f}"] for verifier, milliseconds in found.items()]
    report.show(f"One verification, {options.rounds} rounds", ["verifier", "median ms"], rows)
    if options.json:
        peers = {name: round(found[name], 4) for name in ("omne_attest", "sev_attest_tool", "dcap_qvl")}
        own = {
            f"{name}_ms": round(found[name], 4) for name in ("snp_cold", "snp_warm", "tdx_cold", "tdx_warm")
        }
        report.show_json({"benchmark": "attestation", **own, "peers": peers})
    return 0


if __name__ == "__main__":
    sys.exit(main())
