# SPDX-License-Identifier: Apache-2.0
"""What the simulated AMD makes, judged by the verifier that judges AMD's."""

from dataclasses import replace

import pytest

from attestation import binding
from attestation.binding import TeeOctet
from attestation.evidence import SEV_SNP, Evidence
from attestation.policy import AnyMachine, Policy, Product, SimulatedRoots, SnpPolicy
from attestation.simulated.amd import SnpSetting
from attestation.simulated.certificates import CSP_NAME
from attestation.simulated.intel_certificates import fingerprint
from attestation.simulated.snp_knobs import SNP_KNOBS
from attestation.snp.report import SigningKey
from attestation.verdict import Verdict
from attestation.verify import appraise
from tests.fakes.hardware import CLAIMS, KEYS, MEASUREMENT, NOW, policy, vendor

# Two kinds of machine stand for all: the oldest form with the chip's key, the newest with a provider's.
MACHINES = {
    "milan": (Product.MILAN, 2, SigningKey.VCEK),
    "genoa": (Product.GENOA, 3, SigningKey.VCEK),
    "turin": (Product.TURIN, 5, SigningKey.VCEK),
    "provider": (Product.GENOA, 3, SigningKey.VLEK),
}
# The verifier judges these in its check of the report's structure.
STRUCTURE = {"signature-padding"}
# A provider's key is certified for no chip, so there is nothing to compare (S10).
ONLY_OF_A_CHIP = {"other-chip"}


def good(product: Product, version: int, signing_key: SigningKey) -> SnpSetting:
    """A setting that the verifier accepts."""
    return vendor().setting(MEASUREMENT, at=NOW, product=product, version=version, signing_key=signing_key)


def accepting(product: Product) -> Policy:
    """A policy for the simulated machines of one product."""
    return replace(
        policy(),
        machines=AnyMachine.ANY_MACHINE,
        products=frozenset({product}),
        simulated_roots=SimulatedRoots(frozenset({fingerprint(vendor().root(product))})),
        snp=SnpPolicy(providers=frozenset({CSP_NAME})),
    )


def judge(setting: SnpSetting) -> Verdict:
    """The verdict on a guest in this setting."""
    guest = vendor().start(setting)
    configuration = binding.configuration_hash(KEYS, CLAIMS.encode())
    data = binding.report_data(TeeOctet.SIMULATED, binding.CACHED, configuration, binding.NO_FRESHNESS)
    report = guest.evidence_report(data)
    evidence = Evidence(SEV_SNP, binding.CACHED, report, guest.chain, guest.crl, KEYS, CLAIMS.encode())
    return appraise(evidence, accepting(setting.product), NOW)


@pytest.mark.parametrize("signing_key", [SigningKey.VCEK, SigningKey.VLEK])
@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("product", Product)
def test_every_machine_is_accepted(product: Product, version: int, signing_key: SigningKey) -> None:
    verdict = judge(good(product, version, signing_key))
    assert [check.name for check in verdict.failures] == []
    assert verdict.simulated


@pytest.mark.parametrize("name", SNP_KNOBS)
@pytest.mark.parametrize("machine", MACHINES)
def test_knob_is_noticed_by_its_check(machine: str, name: str) -> None:
    knob, verdict = SNP_KNOBS[name], judge(SNP_KNOBS[name].change(good(*MACHINES[machine])))
    if knob.accepted or (machine == "provider" and name in ONLY_OF_A_CHIP):
        assert verdict.verified
        return
    expected = "S1" if name in STRUCTURE else knob.check
    assert expected in " ".join(check.section for check in verdict.failures if check.evaluated).split()


def test_turin_has_its_own_forms() -> None:
    setting = good(Product.TURIN, 5, SigningKey.VCEK)
    assert len(setting.certified_chip) == 8
    assert setting.fields.chip_id == setting.certified_chip + bytes(56)
    assert setting.fields.current_mitigations
