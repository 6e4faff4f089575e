# SPDX-License-Identifier: Apache-2.0
"""What the simulated Intel makes, judged by dcap-qvl: a verifier that is not ours."""

from dataclasses import replace

import dcap_qvl
import pytest

from attestation.simulated.collateral import LEVELS, Status
from attestation.simulated.intel import Certified, SimulatedTd, TdxSetting
from attestation.simulated.pck import Platform
from attestation.simulated.td_quote import BodyType, QuoteFields, TdFields
from attestation.simulated.tdx_knobs import TDX_KNOBS
from attestation.simulated.tdx_statuses import with_status, with_version_5
from tests.fakes.hardware import MEASUREMENT, NOW, intel, td_setting, trust_domain

DAY = 24 * 60 * 60
DATA = bytes([7]) * 64

# What dcap-qvl 0.7.0 says of each knob. It has no policy for what is absent here: see UNNOTICED.
REFUSALS = {
    "attribute-debug": "Debug mode",
    "attribute-tud-1": "Reserved bits",
    "attribute-tud-2": "Reserved bits",
    "attribute-tud-3": "Reserved bits",
    "attribute-hgs-plus-prof": "profiling",
    "attribute-perf-prof": "profiling",
    "attribute-pmt-prof": "profiling",
    "attribute-tud-7": "Reserved bits",
    "attribute-migratable": "migration",
    "attribute-sept-ve-enabled": "SEPT_VE_DISABLE",
    "attribute-reserved": "Reserved bits",
    "mrservicetd": "MR service TD",
    "version-6": "Unsupported quote version",
    "vendor-id": "vendor ID",
    "key-type": "attestation key type",
    "tee-type": "Data length",
    "body-size": "Invalid body size",
    "signature-size": "Data length",
    "cut-short": "Not enough data",
    "chain-type": "PCK cert format: 1",
    "body-changed": "ISV enclave report signature",
    "key-swap": "QE report hash mismatch",
    "commitment": "QE report hash mismatch",
    "qe-signature": "Signature is invalid for qe_report",
    "wrong-root": "InvalidCrlSignatureForPublicKey",
    "wrong-root-of-chain": "InvalidSignatureForPublicKey",
    "wrong-root-of-collateral": "InvalidCrlSignatureForPublicKey",
    "expired-platform-ca": "CertExpired",
    "expired-pck": "CertExpired",
    "future-pck": "CertNotValidYet",
    "expired-tcb-signing": "CertExpired",
    "expired-root-crl": "CrlExpired",
    "expired-pck-crl": "CrlExpired",
    "expired-tcb-info": "TCBInfo expired",
    "future-tcb-info": "issue date is in the future",
    "expired-qe-identity": "QE Identity expired",
    "revoked-pck": "CertRevoked",
    "revoked-platform-ca": "CertRevoked",
    "revoked-tcb-signing": "CertRevoked",
    "fmspc": "Fmspc mismatch",
    "tcb-info-of-sgx": "non-TDX TCB info",
    "tcb-info-version": "non-TDX TCB info",
    "tcb-info-changed": "Signature is invalid for tcb_info",
    "qe-signer": "QE MRSIGNER mismatch",
    "qe-product": "QE ISVPRODID mismatch",
    "qe-debug": "Debug mode",
    "qe-misc-select": "QE MISCSELECT mismatch",
    "qe-revoked": "Revoked",
    "qe-below-levels": "below minimum required",
    "qe-identity-of-sgx": "QE Identity id",
    "seam-signer": "TDX module MRSIGNER mismatch",
    "seam-attributes": "SEAMATTRIBUTES mismatch",
    "module-unknown": "TDX_09",
    "module-revoked": "Revoked",
}
# dcap-qvl reports these as a status and leaves the decision to its caller.
STATUSES = {"qe-out-of-date": "OutOfDate", "module-out-of-date": "OutOfDate"}
# Wrong all the same, and accepted as UpToDate: what a caller of dcap-qvl must check, and our verifier does.
UNNOTICED = {
    "attribute-tpa",
    "attribute-perfmon",
    "certification-type",
    "commitment-tail",
    "evaluations-differ",
    "expired-root",
    "kernel",
    "log-changed",
    "log-short",
    "mrconfigid",
    "mrowner",
    "mrownerconfig",
    "mrtd",
    "pceid",
    "reserved",
    "stale-collateral",
    "trailing-bytes",
}
ACCEPTED = {name for name, knob in TDX_KNOBS.items() if knob.accepted}


def verdict(domain: SimulatedTd, now: int = NOW) -> str:
    """The status that dcap-qvl reports; ValueError where it refuses."""
    collateral = dcap_qvl.QuoteCollateralV3.from_json(domain.collateral.encode().decode("ascii"))
    quote = domain.evidence_quote(DATA)
    return dcap_qvl.verify_with_root_ca(quote, collateral, domain.root, now).status


def of_version(version: int, body_type: BodyType = BodyType.TD_1_0) -> TdxSetting:
    """A good setting with this form of quote."""
    return replace(td_setting(), quote=QuoteFields(version=version, body_type=body_type))


FORMS = [of_version(4), *(of_version(5, body_type) for body_type in BodyType)]


@pytest.mark.parametrize("setting", FORMS, ids=lambda setting: str(len(setting.quote.signed())))
def test_every_form_of_quote_is_accepted(setting: TdxSetting) -> None:
    assert verdict(trust_domain(setting)) == "UpToDate"


@pytest.mark.parametrize("status", [level.status for level in LEVELS if level.status is not Status.REVOKED])
@pytest.mark.parametrize("setting", FORMS, ids=lambda setting: str(len(setting.quote.signed())))
def test_every_level_is_reported(setting: TdxSetting, status: Status) -> None:
    assert verdict(trust_domain(with_status(setting, status))) == status.value


@pytest.mark.parametrize("body_type", BodyType)
@pytest.mark.parametrize(
    "status", [Status.TD_RELAUNCH_ADVISED, Status.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED]
)
def test_relaunch_is_advised_after_an_update(body_type: BodyType, status: Status) -> None:
    setting = with_status(of_version(5, body_type), status)
    assert setting.quote.body_type >= BodyType.TD_1_5
    assert verdict(trust_domain(setting)) == status.value


@pytest.mark.parametrize(
    ("status", "refusal"), [(Status.REVOKED, "Revoked"), (Status.NOT_SUPPORTED, "No matching TCB level")]
)
def test_some_machines_are_refused_whatever_the_caller_thinks(status: Status, refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        verdict(trust_domain(with_status(td_setting(), status)))


@pytest.mark.parametrize("name", REFUSALS)
def test_knob_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=REFUSALS[name]):
        verdict(trust_domain(TDX_KNOBS[name].change(td_setting())))


@pytest.mark.parametrize("name", sorted(REFUSALS.keys() - {"body-changed"}))
def test_knob_is_refused_in_version_5_too(name: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        verdict(trust_domain(TDX_KNOBS[name].change(with_version_5(td_setting()))))


@pytest.mark.parametrize("name", STATUSES)
def test_knob_changes_the_status(name: str) -> None:
    assert verdict(trust_domain(TDX_KNOBS[name].change(td_setting()))) == STATUSES[name]


@pytest.mark.parametrize("name", sorted(UNNOTICED | ACCEPTED))
def test_knob_is_not_for_this_verifier(name: str) -> None:
    """Pinned, so that a newer dcap-qvl that notices one of them is noticed in turn."""
    assert verdict(trust_domain(TDX_KNOBS[name].change(td_setting()))) == "UpToDate"


def test_every_knob_was_judged() -> None:
    assert REFUSALS.keys() | STATUSES.keys() | UNNOTICED | ACCEPTED == TDX_KNOBS.keys()


@pytest.mark.parametrize("days", [-2, 31])
def test_evidence_is_good_for_its_time_alone(days: int) -> None:
    domain = trust_domain()
    assert verdict(domain, NOW + DAY) == verdict(domain, NOW + 29 * DAY) == "UpToDate"
    with pytest.raises(ValueError, match=r"future|expired|Expired"):
        verdict(domain, NOW + days * DAY)


def test_processor_ca_issues_its_own_list() -> None:
    setting = TDX_KNOBS["processor-ca"].change(td_setting())
    domain = trust_domain(setting)
    assert dcap_qvl.Quote.parse(domain.evidence_quote(DATA)).ca() == "processor"
    for revoked in (Certified.PROCESSOR_CA, Certified.PCK):
        with pytest.raises(ValueError, match="CertRevoked"):
            verdict(trust_domain(replace(setting, revoked=frozenset({revoked}))))


def test_another_root_does_not_help() -> None:
    domain = trust_domain()
    collateral = dcap_qvl.QuoteCollateralV3.from_json(domain.collateral.encode().decode("ascii"))
    with pytest.raises(ValueError, match="Signature"):
        dcap_qvl.verify_with_root_ca(domain.evidence_quote(DATA), collateral, intel("other").root(NOW), NOW)


def test_fields_are_where_they_belong() -> None:
    fields = TdFields(vmid=3, td_id=bytes([4]) * 32, tee_tcb_svn2=bytes([5]) * 16)
    quote = QuoteFields(fields, version=5, body_type=BodyType.TD_1_5_EXTENDED)
    domain = trust_domain(replace(td_setting(), quote=quote))
    parsed = dcap_qvl.Quote.parse(domain.evidence_quote(DATA))
    report = parsed.report
    assert parsed.is_tdx()
    assert (report.mr_td, report.report_data) == (MEASUREMENT, DATA)
    assert (report.rt_mr0, report.rt_mr3) == (domain.fields.td.rtmr0, domain.fields.td.rtmr3)
    assert isinstance(report, dcap_qvl.TdReport15Ex)
    assert (report.vmid, report.td_id, report.tee_tcb_svn2) == (3, bytes([4]) * 32, bytes([5]) * 16)


def test_platform_is_in_the_certificate() -> None:
    platform = replace(Platform(), pce_svn=200, ppid=bytes(range(16)), sgx_type=2, pce_id=b"\x01\x02")
    domain = trust_domain(replace(td_setting(), platform=platform))
    parsed = dcap_qvl.Quote.parse(domain.evidence_quote(DATA))
    certified = parsed.pck_extension()
    assert certified
    assert (certified.ppid, certified.pce_svn, certified.pce_id) == (platform.ppid, 200, b"\x01\x02")
    assert (certified.fmspc, certified.sgx_type) == (platform.fmspc, 2)
    assert (certified.cpu_svn, certified.platform_instance_id) == (
        platform.components,
        platform.platform_instance_id,
    )
    assert (parsed.fmspc(), parsed.ca()) == (platform.fmspc.hex().upper(), "platform")
