# SPDX-License-Identifier: Apache-2.0
"""Genuine evidence of machines on Azure says exactly what was measured of it with other verifiers.

The vectors are not part of the project: without the folder `../shared/vectors`, these tests are skipped.
"""

import base64
import json
import struct
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from attestation.azure.checks import UNCHECKED, AzureEvidence, Expected, HardwareChecks, appraise_azure
from attestation.azure.hcl import Hardware, HclError, parse_hcl
from attestation.azure.runtime import decode_runtime_data
from attestation.azure.tdreport import TdReportError, check_hashes, parse_tdreport
from attestation.azure.tpm import Scheme, Signature, parse_quote, selected
from attestation.snp.report import parse_report
from attestation.verdict import Check
from tests.fakes.azure import failures, made, not_made
from wire.strict_json import Json

VECTORS = Path(__file__).parents[5] / "shared" / "vectors"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="no genuine evidence in ../shared/vectors")

PASSED = Check("stand-in", ok=True, expected="", found="", why="")
NOT_KNOWN = {"hardware signature", "guest measurements"}


@dataclass(frozen=True)
class Row:
    """A file of the index and what a correct verifier says of it."""

    file: str
    kind: str
    expect: dict[str, Json]

    @property
    def content(self) -> bytes:
        return (VECTORS / self.file).read_bytes()

    @property
    def hardware(self) -> Hardware:
        return Hardware.TDX if self.expect["hw_type"] == "TDX" else Hardware.SEV_SNP

    def text(self, name: str) -> str:
        value = self.expect[name]
        assert isinstance(value, str)
        return value


def rows(kind: str) -> list[Row]:
    if not VECTORS.is_dir():
        return []
    index = json.loads((VECTORS / "INDEX.json").read_bytes())
    found = (Row(row["file"], row["kind"], row["expect"]) for row in index["files"])
    return [row for row in found if row.kind == kind and row.expect and row.file.startswith("snp/azure/")]


def octets(value: Json) -> bytes:
    """Octets as the evidence files write them: a list of numbers, base64url, or hexadecimal."""
    if isinstance(value, list):
        return bytes(number for number in value if isinstance(number, int))
    assert isinstance(value, str)
    if len(value) % 2 == 0 and set(value) <= set("0123456789abcdef"):
        return bytes.fromhex(value)
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


def evidence(row: Row) -> AzureEvidence:
    members = json.loads(row.content)
    quote = members.get("quote") or members["tpm_quote"]
    return AzureEvidence(
        hcl_blob=octets(members.get("report") or members["hcl_report"]),
        quote=octets(quote["message"]),
        signature=Signature(Scheme.RSASSA, octets(quote["signature"])),
        registers=dict(enumerate(octets(register) for register in quote["pcrs"])),
        td_quote=octets(members["td_quote"]) if "td_quote" in members else b"",
    )


def expected(row: Row, genuine: AzureEvidence) -> Expected:
    own = genuine.td_quote if row.hardware is Hardware.TDX else parse_hcl(genuine.hcl_blob).report
    return Expected(
        nonce=bytes.fromhex(row.text("tpm_nonce")),
        user_data=bytes.fromhex(row.text("user_data")),
        registers=genuine.registers,
        hardware=HardwareChecks(own, (PASSED,)),
    )


@pytest.mark.parametrize("row", rows("azure-hcl-report"), ids=lambda row: row.file)
def test_genuine_blob_is_what_the_index_says(row: Row) -> None:
    blob, header = parse_hcl(row.content), row.expect["header"]
    assert isinstance(header, dict)
    assert blob.version == header["ver"]
    assert blob.hardware.name.removeprefix("SEV_") == header["report_type"]
    assert len(blob.runtime_data) == header["var_size"]
    assert sha256(blob.runtime_data).hexdigest() == row.text("runtime_data_sha256")
    if blob.hardware is Hardware.TDX:
        report = parse_tdreport(blob.report)
        check_hashes(report)
        own = report.body.report_data
    else:
        own = parse_report(blob.report).report_data
    assert own.hex() == row.text("report_data")
    assert row.expect["binding_ok"] is (own[:32] == sha256(blob.runtime_data).digest())


@pytest.mark.parametrize("row", rows("azure-hcl-report"), ids=lambda row: row.file)
def test_genuine_runtime_data_are_what_the_index_says(row: Row) -> None:
    members, runtime = row.expect["runtime_data"], decode_runtime_data(parse_hcl(row.content).runtime_data)
    assert isinstance(members, dict)
    assert dict(runtime.configuration) == members["vm-configuration"]
    assert runtime.user_data.hex() == members["user-data"]
    keys = members["keys"]
    assert isinstance(keys, list)
    assert isinstance(keys[0], dict)
    assert runtime.attestation_key.public_numbers().n == int.from_bytes(octets(keys[0]["n"]), "big")


@pytest.mark.parametrize("row", rows("azure-vtpm-evidence"), ids=lambda row: row.file)
def test_genuine_evidence_is_what_the_index_says(row: Row) -> None:
    genuine = evidence(row)
    checks = appraise_azure(genuine, expected(row, genuine))
    assert failures(checks) == set()
    passed = made(checks)
    assert row.expect["report_data_binds_runtime_data"] is ("runtime data binding" in passed)
    assert row.expect["tpm_quote_signature_valid"] is ("tpm quote signature" in passed)
    assert row.expect["pcr_digest_matches"] is ("register digest" in passed)
    if row.hardware is Hardware.TDX:
        assert row.expect["td_quote_report_data_binds"] is ("td quote agreement" in passed)
    quote = parse_quote(genuine.quote)
    bits = sum(1 << number for number in selected(quote)).to_bytes(3, "little").hex()
    assert row.expect["pcr_select"] == [["0xb", bits]]
    runtime = decode_runtime_data(parse_hcl(genuine.hcl_blob).runtime_data)
    assert dict(runtime.configuration) == row.expect["vm_config"]


@pytest.mark.parametrize("row", rows("azure-vtpm-evidence"), ids=lambda row: row.file)
def test_what_nobody_checked_is_named_and_fails(row: Row) -> None:
    genuine = evidence(row)
    bare = replace(expected(row, genuine), registers={}, hardware=UNCHECKED)
    checks = appraise_azure(replace(genuine, td_quote=b""), bare)
    unproven = {"td quote agreement"} if row.hardware is Hardware.TDX else set[str]()
    assert failures(checks) == not_made(checks) == NOT_KNOWN | unproven


@pytest.mark.parametrize("row", rows("azure-vtpm-evidence"), ids=lambda row: row.file)
def test_wrong_nonce_key_and_register_fail_their_own_checks(row: Row) -> None:
    genuine = evidence(row)
    good = expected(row, genuine)
    assert failures(appraise_azure(genuine, replace(good, nonce=b"other"))) == {"tpm quote nonce"}
    assert failures(appraise_azure(genuine, replace(good, user_data=bytes(63) + b"\1"))) == {"user data"}
    others = {**genuine.registers, 4: bytes(32)}
    assert failures(appraise_azure(replace(genuine, registers=others), good)) == {
        "register digest",
        "guest measurements",
    }
    assert failures(appraise_azure(genuine, replace(good, registers=others))) == {"guest measurements"}


@pytest.mark.parametrize("row", rows("azure-vtpm-evidence"), ids=lambda row: row.file)
def test_no_flipped_bit_of_the_blob_passes(row: Row) -> None:
    genuine = evidence(row)
    good = expected(row, genuine)
    for position in range(0, len(genuine.hcl_blob), 5):
        changed = bytearray(genuine.hcl_blob)
        changed[position] ^= 0x10
        checks = appraise_azure(replace(genuine, hcl_blob=bytes(changed)), good)
        # The processor's version and the MAC of a TDREPORT: only the machine's own module can check them.
        maced = row.hardware is Hardware.TDX and position - 32 in {*range(16, 32), *range(224, 256)}
        assert failures(checks) or maced, position


@pytest.mark.parametrize("row", rows("azure-vtpm-evidence"), ids=lambda row: row.file)
def test_no_flipped_bit_of_the_quote_passes(row: Row) -> None:
    genuine = evidence(row)
    good = expected(row, genuine)
    for position in range(len(genuine.quote)):
        changed = bytearray(genuine.quote)
        changed[position] ^= 1
        checks = appraise_azure(replace(genuine, quote=bytes(changed)), good)
        assert failures(checks) & {"tpm quote", "tpm quote signature"}, position


def test_blob_of_one_machine_does_not_serve_a_quote_of_another() -> None:
    by_file = {Path(row.file).stem: row for row in rows("azure-vtpm-evidence")}
    row = by_file["coco-snp-evidence-v0"]
    first, second = evidence(row), evidence(by_file["coco-snp-evidence-v2"])
    mixed = replace(first, hcl_blob=second.hcl_blob)
    assert "tpm quote signature" in failures(appraise_azure(mixed, expected(row, first)))


def parts_of(data: bytes) -> tuple[bytes, bytes, dict[int, bytes]]:
    """Signature, message and registers of a file in which each has its length before it."""
    (signature_size,) = struct.unpack_from("<Q", data)
    (message_size,) = struct.unpack_from("<Q", data, 8 + signature_size)
    start = 16 + signature_size
    values = data[start + message_size + 8 :]
    registers = {number: values[32 * number : 32 * number + 32] for number in range(len(values) // 32)}
    return data[8 : 8 + signature_size], data[start : start + message_size], registers


def test_quote_beside_the_first_blob_is_signed_by_its_key() -> None:
    folder = VECTORS / "snp" / "azure"
    signature, message, registers = parts_of((folder / "coco-snp-quote.bin").read_bytes())
    blob = (folder / "hcl-snp.bin").read_bytes()
    genuine = AzureEvidence(blob, message, Signature(Scheme.RSASSA, signature), registers)
    checks = appraise_azure(genuine, Expected(b"challenge", bytes(64), {}, UNCHECKED))
    assert failures(checks) == NOT_KNOWN


def test_quote_of_a_machine_that_is_not_here_is_read_and_refused() -> None:
    folder = VECTORS / "snp" / "azure"
    loose = AzureEvidence(
        (folder / "hcl-snp.bin").read_bytes(),
        (folder / "coco-snp-tpm-quote.msg").read_bytes(),
        Signature(Scheme.RSASSA, (folder / "coco-snp-tpm-quote.sig").read_bytes()),
        {},
    )
    checks = appraise_azure(loose, Expected(b"challenge", bytes(64), {}, UNCHECKED))
    assert failures(checks) == NOT_KNOWN | {"tpm quote signature", "register digest"}
    assert selected(parse_quote(loose.quote)) == (0, 1, 2, 3, 4, 5, 6, 7, 14)


def test_invented_tdreport_is_refused() -> None:
    with pytest.raises(TdReportError, match="report type 81"):
        parse_tdreport((VECTORS / "tdx" / "tdreport-gotdx.bin").read_bytes())


def test_report_without_its_blob_is_refused() -> None:
    with pytest.raises(HclError, match="expected a blob of"):
        parse_hcl(parse_hcl((VECTORS / "snp" / "azure" / "hcl-snp.bin").read_bytes()).report)
