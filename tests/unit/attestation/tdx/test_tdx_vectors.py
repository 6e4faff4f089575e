# SPDX-License-Identifier: Apache-2.0
"""Every row of the index about TDX: exactly the verdict, the fields, the status and the advisories there."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from attestation.tdx import p256
from attestation.tdx.certificates import INTEL_ROOT, PlatformFlag, check_issued, parse_chain
from attestation.tdx.collateral import CollateralError, parse_qe_identity, parse_tcb_info
from attestation.tdx.documents import read_signed
from attestation.tdx.dstack_log import parse_dstack_log
from attestation.tdx.event_log import EventLogError, explain, parse_event_log, replay
from attestation.tdx.pem import decode_pem
from attestation.tdx.quote import QuoteError, TdAttributes, parse_quote
from attestation.x509 import Certificate
from tests.unit.attestation.tdx.genuine import (
    NOT_SUPPORTED,
    UNKNOWN_CODE,
    VECTORS,
    Case,
    Row,
    appraise,
    case_id,
    cases,
    collateral,
    failures,
    needs_vectors,
    of_kind,
    read,
    row_id,
    rows,
)

pytestmark = needs_vectors

BODY_FIELDS = (
    *("tee_tcb_svn", "mrseam", "mrsignerseam", "seam_attributes", "td_attributes", "xfam", "mrtd"),
    *("mrconfigid", "mrowner", "mrownerconfig", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "report_data"),
)

# What the default policy has against genuine quotes, beside not knowing their code.
REFUSED = {
    "tdx-v4-coco-4-DEBUG": {"debug"},
    "tdx-v4-gotdx-spr-e4": {"sept ve disable"},
    "tdx-v4-azure-coco-noseptve": {"sept ve disable"},
    "tdx-v4-coco-6-gnr": {"mrconfigid"},
    "tdx-v5-coco-5": {"service td"},
    "tdx-v4-godcap-perfmon": {"td attributes"},
}


def stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def zulu(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_every_row_is_covered() -> None:
    covered = {
        "intel-root",
        "intel-ca",
        "dcap-collateral",
        "tdx-quote",
        "sgx-quote",
        "tdx-quote-forged",
        "intel-qvl-sample",
        "tdx-ccel",
        "acpi-ccel-table",
        "nonce",
        "dstack-eventlog-json",
        "tdreport",
    }
    assert {row["kind"] for row in rows()} == covered
    assert len(rows()) == 77
    assert len(cases()) == 21


@pytest.mark.parametrize("row", of_kind("intel-root", "intel-ca"), ids=row_id)
def test_authority(row: Row) -> None:
    encoded, expect = read(row["file"]), row["expect"]
    certificate = p256.parse_certificate(encoded)
    root = p256.parse_certificate(read("tdx/roots/intel-sgx-root-ca.der"))
    check_issued(certificate, root)
    assert root.fingerprint == INTEL_ROOT
    assert certificate.fingerprint.hex() == expect["spki_sha256"]
    assert (stamp(certificate.not_before), stamp(certificate.not_after)) == (
        expect["not_before"],
        expect["not_after"],
    )
    if row["kind"] == "intel-root":
        assert hex(certificate.serial) == expect["serial"]
        assert "04" + p256.point(certificate).hex() == expect["public_key_hex"]


@pytest.mark.parametrize("row", of_kind("dcap-collateral"), ids=row_id)
def test_collateral(row: Row) -> None:
    parts, expect = collateral(row["file"]), row["expect"]
    if "-sgx-" in row["file"]:
        check_sgx_collateral(row)
        return
    info, identity = parse_tcb_info(parts.tcb_info), parse_qe_identity(parts.qe_identity)
    assert info.fmspc.hex() == expect["fmspc"]
    assert info.evaluation_data_number == expect["tcb_evaluation_data_number"]
    assert identity.evaluation_data_number == expect["qe_evaluation_data_number"]
    assert (zulu(info.issued_at), zulu(info.next_update)) == (expect["tcb_issue"], expect["tcb_next_update"])
    assert (zulu(identity.issued_at), zulu(identity.next_update)) == (
        expect["qe_issue"],
        expect["qe_next_update"],
    )
    pck_crl, root_crl = (p256.parse_revocation_list(part) for part in (parts.pck_crl, parts.root_crl))
    assert stamp(pck_crl.next_update) == expect["pck_crl_next_update"]
    assert stamp(root_crl.next_update) == expect["root_crl_next_update"]
    starts = (info.issued_at, identity.issued_at, pck_crl.this_update, root_crl.this_update)
    ends = (info.next_update, identity.next_update, pck_crl.next_update, root_crl.next_update)
    assert (stamp(max(starts)), stamp(min(ends))) == (expect["all_valid_from"], expect["all_valid_to"])
    check_signatures(row)


def check_sgx_collateral(row: Row) -> None:
    """Intel's, but not about TDX: refused by name, though its signatures are right."""
    parts = collateral(row["file"])
    with pytest.raises(CollateralError, match="expected id TDX, found SGX"):
        parse_tcb_info(parts.tcb_info)
    with pytest.raises(CollateralError, match="expected id TD_QE, found QE"):
        parse_qe_identity(parts.qe_identity)
    check_signatures(row)


def check_signatures(row: Row) -> None:
    parts = collateral(row["file"])
    for document, name, chain in (
        (parts.tcb_info, "tcbInfo", parts.tcb_info_chain),
        (parts.qe_identity, "enclaveIdentity", parts.qe_identity_chain),
    ):
        issuer, root = (p256.parse_certificate(certificate) for certificate in chain)
        check_issued(issuer, root)
        p256.check_statement(read_signed(document, name).signed, issuer)
    issuer, root = (p256.parse_certificate(certificate) for certificate in parts.pck_crl_chain)
    p256.check_signed_by(p256.parse_revocation_list(parts.pck_crl).signed, issuer)
    p256.check_signed_by(p256.parse_revocation_list(parts.root_crl).signed, root)


@pytest.mark.parametrize("row", of_kind("tdx-quote"), ids=row_id)
def test_quote_has_the_fields(row: Row) -> None:
    expect = row["expect"]
    named = json.loads(json.dumps(expect))
    quote = parse_quote(read(row["file"]))
    assert quote.header.version == expect["version"]
    assert quote.header.attestation_key_type == named["att_key_type"]
    assert quote.header.tee_type == named["tee_type"]
    assert quote.header.qe_vendor_id.hex() == named["qe_vendor_id"]
    assert (quote.body_type, quote.size, quote.padding) == (expect["body_type"], expect["quote_len"], 0)
    assert quote.certification_data_type == expect["certification_data_type"]
    body = quote.body
    assert {name: getattr(body, name).hex() for name in BODY_FIELDS} == {
        name: named[name] for name in BODY_FIELDS
    }
    if body.td15 is not None:
        assert body.td15.tee_tcb_svn2.hex() == named["tee_tcb_svn2"]
        assert body.td15.mrservicetd.hex() == named["mrservicetd"]
    assert (body.td15 is None) == (expect["version"] == 4)
    for flag in ("DEBUG", "SEPT_VE_DISABLE", "MIGRATABLE", "PKS", "KL", "PERFMON"):
        assert bool(body.attributes & TdAttributes[flag]) == named[flag.lower()]


@pytest.mark.parametrize("row", of_kind("tdx-quote"), ids=row_id)
def test_platform_certificate_has_the_fields(row: Row) -> None:
    expect = row["expect"]
    pck = parse_chain(parse_quote(read(row["file"])).certificates).pck
    certificate = pck.certificate
    assert expect["pck"] == {
        "ppid": pck.ppid.hex(),
        "pceid": pck.pceid.hex(),
        "fmspc": pck.fmspc.hex(),
        "sgx_type": pck.sgx_type,
        "platform_instance_id": pck.platform_instance_id.hex(),
        "cpusvn": list(pck.components),
        "pcesvn": pck.pcesvn,
        "cpusvn_raw": pck.cpusvn.hex(),
        "dynamic_platform": PlatformFlag.DYNAMIC_PLATFORM in pck.flags,
        "cached_keys": PlatformFlag.CACHED_KEYS in pck.flags,
        "smt": PlatformFlag.SMT_ENABLED in pck.flags,
    }
    assert hex(certificate.serial) == expect["pck_serial"]
    assert [stamp(time)[:10] for time in (certificate.not_before, certificate.not_after)] == expect[
        "pck_validity"
    ]
    assert certificate.issuer.common_name == expect["pck_issuer"]


@pytest.mark.parametrize("row", of_kind("tdx-quote"), ids=row_id)
def test_genuine_quote_is_genuine_even_without_collateral(row: Row) -> None:
    pck = parse_chain(parse_quote(read(row["file"])).certificates).pck.certificate
    checks, result = appraise(read(row["file"]), None, pck.not_before + 1)
    passed = {check.name for check in checks if check.ok}
    assert {
        "quote structure",
        "quote signature",
        "attestation key",
        "quoting enclave report",
        "certificate chain",
        "trust anchor",
        "certificate validity",
    } <= passed
    assert result is None


@pytest.mark.parametrize("case", cases(), ids=case_id)
def test_quote_has_the_status_and_the_advisories(case: Case) -> None:
    checks, result = appraise(read(case.quote), collateral(case.collateral), case.now)
    assert result is not None
    status = NOT_SUPPORTED if result.status.value == "TCB_NOT_SUPPORTED" else result.status.value
    assert (status, result.advisory_ids) == (case.status, case.advisories)
    refused = REFUSED.get(case.quote.split("/")[-1].removesuffix(".bin"), set())
    if case.status == "UpToDate":
        assert failures(checks) == UNKNOWN_CODE | refused
    elif case.status == "OutOfDate":
        assert failures(checks) - {"tdx module level"} == UNKNOWN_CODE | refused | {"tcb status"}
    else:
        consequences = {"relaunch", "tdx module level"}
        assert failures(checks) - consequences == UNKNOWN_CODE | refused | {"tcb status", "tcb level"}


@pytest.mark.parametrize("row", of_kind("sgx-quote"), ids=row_id)
def test_sgx_quote_is_refused(row: Row) -> None:
    with pytest.raises(QuoteError, match="expected a quote of version 4 or 5, found 3"):
        parse_quote(read(row["file"]))


@pytest.mark.parametrize("row", of_kind("tdx-quote-forged"), ids=row_id)
def test_forged_quote_fails_the_check_that_is_about_it(row: Row) -> None:
    expect = row["expect"]
    checks, _ = appraise(read(row["file"]), collateral(expect["collateral"]), expect["as_of_unix"])
    outcome = {check.name: check.ok for check in checks}
    assert expect["measured"] == {
        "quote_sig": outcome["quote signature"],
        "ak_binding": outcome["attestation key"],
        "qe_report_sig": outcome["quoting enclave report"],
        "chain": outcome["certificate chain"],
        "root_is_intel": outcome["trust anchor"],
    }
    assert not all(outcome.values())


@pytest.mark.parametrize("row", of_kind("intel-qvl-sample"), ids=row_id)
def test_sample_under_intels_test_root_is_read_or_refused_by_name(row: Row) -> None:
    encoded, name = read(row["file"]), row["file"].split("/", 2)[2]
    match name.rpartition(".")[2], name:
        case "pem", _:
            certificates = [p256.parse_certificate(item) for item in decode_pem(encoded)]
            assert all(item.issuer.common_name.startswith("Intel SGX") for item in certificates)
            assert INTEL_ROOT not in {item.fingerprint for item in certificates}
        case "der", _:
            assert p256.parse_revocation_list(encoded).issuer.common_name.startswith("Intel SGX")
        case _, "tdx-v4-intel-sample/qeIdentity.json":
            check_sample_identity(encoded)
        case "dat", _:
            with pytest.raises(QuoteError, match=r"version 4 or 5|certificate chain"):
                parse_quote(encoded)
        case _:
            with pytest.raises(CollateralError):
                (parse_tcb_info if name.endswith("tcbInfo.json") else parse_qe_identity)(encoded)


def check_sample_identity(encoded: bytes) -> None:
    chain = decode_pem(read("tdx/intel-sample/tdx-v4-intel-sample/tcbSignChain.pem"))
    signers = {item.subject.common_name: item for item in (p256.parse_certificate(part) for part in chain)}
    signer: Certificate = signers["Intel SGX TCB Signing"]
    p256.check_statement(parse_qe_identity(encoded).signed, signer)


@pytest.mark.parametrize("row", of_kind("tdx-ccel"), ids=row_id)
def test_event_log_replays(row: Row) -> None:
    expect = row["expect"]
    events = parse_event_log(read(row["file"]))
    assert len(events) == expect["events"]
    registers = replay(events)
    assert {key: registers[int(key[-1])].hex() for key in expect["replayed"]} == expect["replayed"]
    quote = VECTORS / expect.get("quote", "none")
    if quote.exists():
        body = parse_quote(quote.read_bytes()).body
        found = {f"rtmr{item.rtmr}": item.complete for item in explain(events, body.rtmrs)}
        assert found == expect["match"]


def test_acpi_table_is_no_event_log() -> None:
    (row,) = of_kind("acpi-ccel-table")
    with pytest.raises(EventLogError):
        parse_event_log(read(row["file"]))


def test_nonce_is_report_data_sized() -> None:
    """Its quote is not among the vectors."""
    (row,) = of_kind("nonce")
    assert len(read(row["file"])) == 64


@pytest.mark.parametrize("row", of_kind("dstack-eventlog-json"), ids=row_id)
def test_dstack_log_replays(row: Row) -> None:
    expect, document = row["expect"], json.loads(read(row["file"]))
    events = parse_dstack_log(document["event_log"].encode())
    assert len(events) == expect["events"]
    body = parse_quote(bytes.fromhex(document["quote"])).body
    found = {f"rtmr{item.rtmr}": item.complete for item in explain(events, body.rtmrs)}
    # The index was measured with the digests as stated. This log leaves those of applications out; computed
    # from name and payload, they lead to RTMR3 too.
    stated = all(item["digest"] for item in json.loads(document["event_log"]))
    assert found == expect["match"] | ({} if stated else {"rtmr3": True})


def test_opaque_bytes_are_no_quote() -> None:
    (row,) = of_kind("tdreport")
    assert sha256(read(row["file"])).hexdigest().startswith("035b2caf")
    with pytest.raises(QuoteError):
        parse_quote(read(row["file"]))
