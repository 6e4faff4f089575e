# SPDX-License-Identifier: Apache-2.0
"""Which machine evidence is about, genuine and not; and until when what vendors say is good."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TypedDict

import pytest

from attestation.simulated.snp import CPUS, SimulatedGuest
from attestation.simulated.vendor import SimulatedVendor
from attestation.snp.product import Product as Generation
from attestation.snp.report import SigningKey as SnpSigningKey
from host.endorsement_dates import next_update, next_update_of_json, next_update_of_list
from host.endorsement_requests import (
    CertificateAuthority,
    PatchLevels,
    Product,
    RequestValueError,
    SigningKey,
    Update,
    amd_chain,
    intel_root_revocations,
    qe_identity,
    tcb_info,
)
from host.endorsement_subjects import SnpSubject, SubjectError, TdxSubject, questions, subject_of
from tests.fakes import hardware, trust_domain
from tests.fakes.vendors import VECTORS, der, made_up_collateral, pem, signed

FMSPC = bytes.fromhex("90C06F000000")
Json = dict[str, "str | int | list[str]"]


class Entry(TypedDict):
    """A row of the index of genuine files."""

    file: str
    kind: str
    product: str
    version: int
    expect: "dict[str, str | dict[str, int | str]]"


def entries(kind: str) -> Iterator[Entry]:
    """The rows of one kind; none where the genuine files are not there."""
    if VECTORS.is_dir():
        index: dict[str, list[Entry]] = json.loads((VECTORS / "INDEX.json").read_text(encoding="utf-8"))
        yield from (entry for entry in index["files"] if entry["kind"] == kind)


def document(tee: str, report: bytes, **more: str | list[str]) -> bytes:
    """Evidence around a report, with nothing that a verifier needs besides."""
    rest: Json = {"chain": [], "crl": ""} if tee == "sev-snp" else {"collateral": ""}
    members: Json = {"v": 1, "tee": tee, "report": base64.b64encode(report).decode()}
    return json.dumps(members | rest | more).encode()


def test_every_genuine_report_names_its_chip() -> None:
    checked = 0
    for entry in entries("snp-report"):
        wanted = entry["expect"]
        report = (VECTORS / entry["file"]).read_bytes()
        named = Product(entry["product"]) if entry["version"] == 2 else None
        subject = subject_of(document("sev-snp", report), named)
        assert isinstance(subject, SnpSubject)
        levels = wanted["reported_tcb"]
        assert isinstance(levels, dict)
        assert subject.product == entry["product"], entry["file"]
        assert subject.signing_key.name == wanted["signing_key"]
        numbers = {name: int(levels[name]) for name in ("bootloader", "tee", "snp", "microcode")}
        fmc = int(levels["fmc"]) if "fmc" in levels else 0
        assert subject.levels == PatchLevels(**numbers, fmc=fmc), entry["file"]
        chip = wanted["chip_id"]
        assert isinstance(chip, str)
        assert bytes.fromhex(chip).startswith(subject.chip_id)
        checked += 1
    if not checked:
        pytest.skip("no genuine evidence in ../shared/vectors")
    assert checked >= 20


def test_every_genuine_quote_names_its_platforms() -> None:
    checked = 0
    for entry in entries("tdx-quote"):
        subject = subject_of(document("tdx", (VECTORS / entry["file"]).read_bytes()))
        issuer = entry["expect"]["pck_issuer"]
        assert isinstance(subject, TdxSubject)
        assert isinstance(issuer, str)
        assert subject.fmspc.hex() == entry["product"], entry["file"]
        assert subject.authority in issuer.lower()
        checked += 1
    if not checked:
        pytest.skip("no genuine evidence in ../shared/vectors")
    assert checked >= 10


@pytest.mark.parametrize("product", list(Generation))
def test_every_product_names_its_chip(product: Generation) -> None:
    machine = _start(product, 3, SnpSigningKey.VCEK)
    subject = subject_of(document("sev-snp", machine.evidence_report(bytes(64))))
    assert isinstance(subject, SnpSubject)
    assert subject.product.name == product.name
    size = 8 if product is Generation.TURIN else 64
    assert subject.chip_id == machine.fields.chip_id[:size]
    assert questions(subject)[2].path == f"/vcek/v1/{subject.product}/{subject.chip_id.hex()}"


def _start(product: Generation, version: int, key: SnpSigningKey) -> SimulatedGuest:
    vendor: SimulatedVendor = hardware.vendor()
    return vendor.start(
        vendor.setting(
            hardware.MEASUREMENT, at=hardware.NOW, product=product, version=version, signing_key=key
        )
    )


def test_a_provider_is_asked_for_its_own() -> None:
    machine = _start(Generation.GENOA, 5, SnpSigningKey.VLEK)
    subject = subject_of(document("sev-snp", machine.evidence_report(bytes(64))))
    assert isinstance(subject, SnpSubject)
    assert subject.signing_key is SigningKey.VLEK
    assert [question.path for question in questions(subject)] == [
        "/vlek/v1/Genoa/cert_chain",
        "/vlek/v1/Genoa/crl",
        "/vlek/v1/Genoa/cert",
    ]


def test_version_2_needs_the_operators_word() -> None:
    report = _start(Generation.MILAN, 2, SnpSigningKey.VCEK).evidence_report(bytes(64))
    with pytest.raises(SubjectError, match="version 2 does not name its product"):
        subject_of(document("sev-snp", report))
    subject = subject_of(document("sev-snp", report), Product.MILAN)
    assert isinstance(subject, SnpSubject)
    assert subject.product is Product.MILAN


def test_the_operators_word_does_not_outweigh_the_report() -> None:
    subject = subject_of(document("sev-snp", hardware.guest().evidence_report(bytes(64))), Product.MILAN)
    assert isinstance(subject, SnpSubject)
    assert subject.product is Product.GENOA


def test_a_leaf_that_came_is_not_asked_for() -> None:
    machine = hardware.guest()
    leaf = base64.b64encode(machine.chain[0]).decode()
    subject = subject_of(document("sev-snp", machine.evidence_report(bytes(64)), chain=[leaf]))
    assert isinstance(subject, SnpSubject)
    assert subject.leaf == machine.chain[0]
    assert len(questions(subject)) == 2


def test_a_masked_chip_cannot_be_asked_for() -> None:
    machine = hardware.guest()
    report = machine.sign(replace(machine.fields, chip_id=bytes(64)))
    subject = subject_of(document("sev-snp", report))
    assert subject
    with pytest.raises(RequestValueError, match="masked"):
        questions(subject)


def test_complete_evidence_needs_nothing() -> None:
    assert subject_of(hardware.evidence().encode()) is None
    assert subject_of(trust_domain.evidence().encode()) is None


def test_a_trust_domain_names_its_platforms() -> None:
    quote = trust_domain.domain().evidence_quote(bytes(64))
    subject = subject_of(document("tdx", quote))
    assert subject == TdxSubject(FMSPC, CertificateAuthority.PLATFORM)
    assert subject is not None
    assert [question.name for question in questions(subject)] == [
        "intel-tdx-tcb-90C06F000000-standard.json",
        "intel-tdx-qe-identity-standard.json",
        "intel-pck-platform.crl",
        "intel-root-ca.crl",
    ]


SNP = hardware.guest().evidence_report(bytes(64))


def _patched(offset: int, content: bytes) -> bytes:
    return SNP[:offset] + content + SNP[offset + len(content) :]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"", "expected an evidence document"),
        (b"[]", "expected an evidence document"),
        (b"{" * 50_000, "expected an evidence document"),
        (b'{"tee":"sev-snp"}', "expected an evidence document"),
        (b'{"tee":"sev-snp","report":"%"}', "expected an evidence document"),
        (b'{"tee":"sev-snp","report":1}', "expected base64"),
        (document("sgx", SNP, chain=[]), "expected evidence of sev-snp or tdx, found 'sgx'"),
        (document("sev-snp", SNP, chain="x"), "expected a list as chain"),
        (document("sev-snp", SNP[:-1]), "expected a report of 1184 bytes, found 1183"),
        (document("sev-snp", _patched(0x188, b"\x1b\x02")), "CPU family 0x1b model 0x2"),
        (document("sev-snp", _patched(0x48, b"\x1c")), "signed by no key of AMD"),
        (document("tdx", b"no quote"), "none of Intel's form"),
        (document("tdx", b"-----BEGIN CERTIFICATE-----"), "the platform's certificate in the quote"),
        (document("tdx", pem(der(b"Intel SGX PCK Platform CA"))), "none of Intel's form"),
        (document("tdx", pem(der(bytes.fromhex("060a2a864886f84d010d01040406") + FMSPC))), "none of Intel's"),
    ],
)
def test_what_names_no_machine_is_refused(written: bytes, text: str) -> None:
    with pytest.raises(SubjectError, match=text):
        subject_of(written)


def test_cpus_are_those_of_the_verifier() -> None:
    for product, (family, model, _) in CPUS.items():
        subject = subject_of(document("sev-snp", _patched(0x188, bytes((family, model)))))
        assert isinstance(subject, SnpSubject)
        assert subject.product.name == product.name


def test_genuine_lists_and_statements_say_until_when() -> None:
    checked = 0
    for entry in entries("amd-crl"):
        wanted = entry["expect"]["next_update"]
        assert isinstance(wanted, str)
        found = next_update_of_list((VECTORS / entry["file"]).read_bytes())
        assert found == int(datetime.fromisoformat(wanted).timestamp()), entry["file"]
        checked += 1
    for entry in entries("dcap-collateral"):
        collateral: dict[str, str] = json.loads((VECTORS / entry["file"]).read_text(encoding="utf-8"))
        wanted = entry["expect"]["pck_crl_next_update"]
        assert isinstance(wanted, str)
        found = next_update_of_list(bytes.fromhex(collateral["pck_crl"]))
        assert found == int(datetime.fromisoformat(wanted).timestamp()), entry["file"]
        body = f'{{"tcbInfo":{collateral["tcb_info"]},"signature":"{collateral["tcb_info_signature"]}"}}'
        wanted = entry["expect"]["tcb_next_update"]
        assert isinstance(wanted, str)
        assert next_update_of_json(body.encode()) == int(datetime.fromisoformat(wanted).timestamp())
        checked += 1
    if not checked:
        pytest.skip("no genuine evidence in ../shared/vectors")


def test_simulated_lists_say_until_when() -> None:
    assert next_update(intel_root_revocations(), hardware.guest().crl) == hardware.NOW + 30 * 86_400


@pytest.mark.parametrize(
    "content",
    [b"", b"0", der(b""), der(b"list"), der(der(b"\2\1\1") + b""), hardware.guest().chain[0]],
    ids=["nothing", "cut", "empty", "no list", "short", "a certificate"],
)
def test_what_has_no_next_update_is_no_fault(content: bytes) -> None:
    assert next_update_of_list(content) is None


@pytest.mark.parametrize("date", ['"2026-13-01T00:00:00Z"', '"tomorrow"', "7", "null"])
def test_statements_without_a_date_have_none(date: str) -> None:
    content = signed("tcbInfo", f'{{"nextUpdate":{date}}}', "ab" * 64, ("chain", "")).content
    assert next_update(tcb_info(FMSPC, Update.STANDARD), content) is None
    made_up = made_up_collateral()
    content = signed("enclaveIdentity", made_up["qe_identity"], "ab" * 64, ("chain", "")).content
    assert next_update(qe_identity(Update.STANDARD), content) is None


def test_certificates_have_no_next_update() -> None:
    assert next_update(amd_chain(Product.GENOA, SigningKey.VCEK), pem(der(b"ask"))) is None
