# SPDX-License-Identifier: Apache-2.0
"""The same seed, setting and time give the same bytes; what cannot follow from a seed is named here."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from attestation.policy import Product
from attestation.simulated import amd, folder
from attestation.simulated.collateral import Status
from attestation.simulated.intel import SimulatedIntel, TdxSetting
from attestation.simulated.seed import derive_key
from attestation.simulated.tdx_statuses import with_status
from attestation.simulated.vendor import SimulatedVendor
from attestation.snp.report import SigningKey
from attestation.x509 import parse_certificate, parse_revocation_list
from tests.fakes.hardware import MEASUREMENT, NOW, td_setting, trust_domain, vendor

DATA = bytes([6]) * 64


@pytest.mark.parametrize("status", [Status.UP_TO_DATE, Status.TD_RELAUNCH_ADVISED])
def test_everything_of_intels_follows_from_the_seed(status: Status) -> None:
    setting = with_status(TdxSetting(NOW), status)
    first, second = (SimulatedIntel(b"seed").power_on(setting) for _ in range(2))
    assert first.evidence_quote(DATA) == second.evidence_quote(DATA)
    assert first.td_report(DATA) == second.td_report(DATA)
    assert first.collateral == second.collateral
    assert (first.chain, first.root, first.event_log) == (second.chain, second.root, second.event_log)


def test_other_seed_is_another_vendor() -> None:
    first, second = (SimulatedIntel(seed).power_on(td_setting()) for seed in (b"one", b"two"))
    assert first.root_fingerprint != second.root_fingerprint
    assert first.evidence_quote(DATA) != second.evidence_quote(DATA)


def test_root_keeps_its_key_over_time() -> None:
    domain = trust_domain()
    later = trust_domain(replace(td_setting(), at=NOW + 86400))
    assert domain.root_fingerprint == later.root_fingerprint


def test_keys_are_derived_the_same_for_ever() -> None:
    """A change of derivation would orphan every folder and every file made from a seed."""
    key = derive_key(b"seed", b"label", ec.SECP256R1())
    assert key.private_numbers().private_value.to_bytes(32, "big") == bytes.fromhex(
        "e4f9e850ae04b3a58da8465d9532968d462f59a6d0231b1c01f768c00ee79b8f"
    )


def test_reports_follow_from_the_seed_and_the_roots_do_not() -> None:
    first, second = (vendor(name).seeded(b"seed") for name in ("house", "attacker"))
    made = [machine.start(machine.setting(MEASUREMENT, at=NOW)) for machine in (first, second)]
    assert made[0].evidence_report(DATA) == made[1].evidence_report(DATA)
    assert made[0].chip_id == made[1].chip_id == first.chip_id
    assert made[0].chain[2] != made[1].chain[2]
    assert vendor().chip_id != first.chip_id


def test_folder_keeps_its_machines_and_its_intel() -> None:
    again = SimulatedVendor.open(vendor().folder)
    setting = again.setting(MEASUREMENT, at=NOW)
    assert again.start(setting).evidence_report(DATA) == vendor().start(setting).evidence_report(DATA)
    assert again.intel.root(NOW) == vendor().intel.root(NOW)
    assert again.root(Product.GENOA) == vendor().start(setting).chain[2]


def test_each_chip_has_keys_of_its_own() -> None:
    settings = [
        vendor().setting(MEASUREMENT, at=NOW, product=product, signing_key=key)
        for product in Product
        for key in (SigningKey.VCEK, SigningKey.VLEK)
    ]
    keys = {amd.signing_key(b"seed", setting).private_numbers().private_value for setting in settings}
    assert len(keys) == len(settings)
    assert len({amd.chip_id(b"seed", product) for product in Product}) == len(Product)


def test_trust_domain_holds_none_of_intels_keys() -> None:
    domain = trust_domain()
    held = [item for item in gc.get_referents(domain) if isinstance(item, ec.EllipticCurvePrivateKey)]
    assert held == [domain.key]
    assert not any(isinstance(item, rsa.RSAPrivateKey) for item in gc.get_referents(domain))
    assert "key=" not in repr(domain)


@pytest.mark.parametrize("signing_key", [SigningKey.VCEK, SigningKey.VLEK])
def test_guest_of_any_kind_holds_no_rsa_key(signing_key: SigningKey) -> None:
    guest = vendor().start(vendor().setting(MEASUREMENT, at=NOW, signing_key=signing_key))
    assert not any(isinstance(item, rsa.RSAPrivateKey) for item in gc.get_referents(guest))


def test_kept_file_is_made_once(tmp_path: Path) -> None:
    def other_process() -> bytes:
        folder.write_private(tmp_path / "key", b"theirs")
        return b"ours"

    assert folder.keep(tmp_path, "key", other_process) == b"theirs"
    assert folder.keep(tmp_path, "key", lambda: b"later") == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_revocation_list_of_each_product() -> None:
    for product in (Product.GENOA, Product.TURIN):
        revocations = parse_revocation_list(vendor().revocation_list(now=NOW, revoked=(7,), product=product))
        root = parse_certificate(vendor().root(product))
        assert revocations.issuer == root.subject
        assert revocations.this_update < NOW < revocations.next_update
