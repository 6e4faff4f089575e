# SPDX-License-Identifier: Apache-2.0
"""`sottovoce verify` as a user calls it: kinds of evidence, forms of results, and words for mistakes."""

import base64
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from attestation.azure.gce import Instance
from attestation.azure.hcl import Hardware
from attestation.details import SnpDetails, TdxDetails
from attestation.policy import SimulatedRoots, render_policy
from attestation.results import cmw
from attestation.results.cwt import decode_cwt
from attestation.results.jwt import decode_jwt
from attestation.simulated.event_log import EVENTS, EventLog
from attestation.simulated.intel import TdxSetting
from attestation.simulated.pck import Platform
from attestation.simulated.td_quote import QuoteFields, TdFields
from attestation.tdx.collateral import TcbStatus
from sottovoce.__main__ import main
from tests.fakes import azure, gpu, hardware, trust_domain
from tests.fakes.hardware import NOW

DATA = bytes([7]) * 32
RUNTIME = azure.runtime_data()
BOUND = sha256(RUNTIME).digest() + bytes(32)
INSTANCE = Instance(123456, "europe-west4-a", 987654)
KEYS: dict[str, ec.EllipticCurvePrivateKey | Ed25519PrivateKey] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "ed25519": Ed25519PrivateKey.generate(),
}
SNP = ("--certs", "chain.pem", "leaf.der", "--crl", "list.der", "--policy", "snp.toml")
TDX = ("--collateral", "collateral.json", "--policy", "tdx.toml")
TPM = ("--tpm-quote", "quote.msg", "--tpm-signature", "quote.sig", "--pcrs", "quote.pcrs")
PCR = ("--pcr", f"4={azure.REGISTERS[4].hex()}", "--pcr", f"7={azure.REGISTERS[7].hex()}")
NONCE = ("--nonce", azure.NONCE.hex())
USER_DATA = ("--user-data", "ab" * 64)


@dataclass(frozen=True)
class Told:
    """What a command left."""

    code: int
    out: bytes
    error: str

    @property
    def document(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.out)
        return found

    def outcomes(self) -> dict[str, str]:
        """The checks that did not pass, by name."""
        checks = json.loads(self.out)["checks"]
        return {each["name"]: each["outcome"] for each in checks if each["outcome"] not in {"pass", "note"}}


Key: TypeAlias = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey


def pem(key: Key, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def contents() -> dict[str, bytes]:
    domain, quote = trust_domain.domain(), azure.QuoteFields().encode()
    snp = hardware.evidence(spoil=lambda fields: replace(fields, report_data=DATA.ljust(64, b"\x00")))
    bound = hardware.evidence(spoil=lambda fields: replace(fields, report_data=BOUND))
    signature = azure.sign(quote)
    return {
        "report.bin": snp.report,
        "leaf.der": snp.chain[0],
        "chain.pem": b"".join(map(certificate_pem, snp.chain[1:])),
        "list.der": snp.crl,
        "quote.bin": domain.evidence_quote(DATA.ljust(64, b"\x00")),
        "collateral.json": domain.collateral.encode(),
        "ccel.bin": domain.event_log,
        "other.bin": EventLog(EVENTS[1:]).encode(),
        "document.json": hardware.evidence().encode(),
        "td_document.json": trust_domain.evidence().encode(),
        "snp.toml": render_policy(hardware.policy()).encode(),
        "tdx.toml": render_policy(trust_domain.policy()).encode(),
        "hcl.bin": azure.hcl_blob(RUNTIME, report=bound.report),
        "hcl_td.bin": azure.hcl_blob(RUNTIME, Hardware.TDX, domain.td_report(BOUND)),
        "td_quote.bin": domain.evidence_quote(BOUND),
        "quote.msg": quote,
        "quote.sig": signature.value,
        "quote.tss": struct.pack(">HHH", signature.scheme, 0x000B, len(signature.value)) + signature.value,
        "quote.pcrs": b"".join(azure.REGISTERS.values()),
        "gpu.txt": gpu.ReportFields().encode().hex().encode(),
        "gpu.bin": gpu.ReportFields().encode(),
        "gpu.pem": b"".join(map(certificate_pem, gpu.chain())),
        "gpu.toml": render_policy(replace(hardware.policy(), simulated_roots=gpu_roots())).encode(),
        "p256.pem": pem(KEYS["p256"]),
        "ed25519.pem": pem(KEYS["ed25519"]),
        "p384.pem": pem(ec.generate_private_key(ec.SECP384R1())),
        "rsa.pem": pem(rsa.generate_private_key(65537, 2048)),
        "secret.pem": pem(KEYS["p256"], b"password"),
    }


def gpu_roots() -> SimulatedRoots:
    return SimulatedRoots(frozenset({sha256(gpu.spki(gpu.NAMES[0])).digest()}))


def certificate_pem(der: bytes) -> bytes:
    lines = base64.encodebytes(der).replace(b"\n", b"")
    wrapped = b"\n".join(lines[start : start + 64] for start in range(0, len(lines), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + wrapped + b"\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything."""
    made = tmp_path_factory.mktemp("evidence")
    for name, content in contents().items():
        (made / name).write_bytes(content)
    return made


Verify = Callable[..., Told]


@pytest.fixture
def verify(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Verify:
    """Run the command in the folder, as at the time of the evidence."""
    monkeypatch.chdir(folder)

    def run(*arguments: str, at: int = NOW) -> Told:
        monkeypatch.setattr(sys, "argv", ["sottovoce", "verify", *arguments, "--at", str(at)])
        try:
            code = main()
        except SystemExit as error:
            code = int(str(error.code))
        captured = capsysbinary.readouterr()
        return Told(code, captured.out, captured.err.decode())

    return run


def test_log_explains_a_quote_and_its_events_are_told(verify: Verify) -> None:
    told = verify("quote.bin", *TDX, "--nonce", DATA.hex(), "--event-log", "ccel.bin", "--json")
    assert told.code == 0
    registers: list[dict[str, list[dict[str, str | None]] | bool]] = json.loads(told.out)["event_log"]
    assert [item["explained"] for item in registers] == [True] * 4
    events = registers[0]["events"]
    assert isinstance(events, list)
    assert [event["data"] is None for event in events] == [True, False, False]


def test_log_of_another_start_is_refused_by_the_register(verify: Verify) -> None:
    told = verify("quote.bin", *TDX, "--nonce", DATA.hex(), "--event-log", "other.bin", "--json")
    assert (told.code, told.outcomes()) == (10, {"event log rtmr0": "fail"})


def test_log_explains_a_document_of_tdx(verify: Verify) -> None:
    assert verify("td_document.json", "--policy", "tdx.toml", "--event-log", "ccel.bin").code == 0


@pytest.mark.parametrize("name", ["report.bin", "document.json"])
def test_log_beside_sev_snp_is_wrong_usage(verify: Verify, name: str) -> None:
    certificates = ("--certs", "chain.pem", "leaf.der") if name == "report.bin" else ()
    told = verify(name, *certificates, "--event-log", "ccel.bin")
    assert told.code == 2
    assert "--event-log" in told.error


def test_machine_is_shown_to_a_person_and_to_a_program(verify: Verify) -> None:
    told = verify("quote.bin", *TDX, "--nonce", DATA.hex())
    text = " ".join(told.out.decode().split())
    assert f"fmspc {Platform().fmspc.hex()}" in text
    assert "status UpToDate" in text
    assert "evaluation data number 21" in text
    platform = verify("report.bin", *SNP, "--nonce", DATA.hex(), "--json").document["platform"]
    assert isinstance(platform, dict)
    assert platform["product"] == "genoa"
    assert platform["reported_tcb"] == {"bootloader": 10, "tee": 0, "snp": 25, "microcode": 84}
    assert platform["guest_policy"] == ["smt", "reserved_one"]
    assert platform["current_version"] == "1.55.43"


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_signed_result_is_read_back_with_the_machine(verify: Verify, kind: str) -> None:
    key = KEYS[kind].public_key()
    nonce = ("--nonce", DATA.hex())
    jwt = verify("quote.bin", *TDX, *nonce, "--ear", "jwt", "--ear-key", f"{kind}.pem")
    result = decode_jwt(jwt.out.decode().strip(), key)
    (_, appraisal), *_ = result.appraisals
    details = appraisal.verifier.platform
    assert jwt.code == 0
    assert isinstance(details, TdxDetails)
    assert details.tcb is not None
    assert details.tcb.status is TcbStatus.UP_TO_DATE
    assert details.tcb.evaluation_data_number == 21
    assert details.tcb.expires_at == NOW + 30 * 86_400
    cwt = verify("report.bin", *SNP, *nonce, "--ear", "cwt", "--ear-key", f"{kind}.pem")
    (_, appraisal), *_ = decode_cwt(cwt.out, key).appraisals
    assert isinstance(appraisal.verifier.platform, SnpDetails)
    assert appraisal.verifier.platform.chip_id == hardware.vendor().chip_id


def test_result_in_a_file_leaves_the_table_on_the_terminal(verify: Verify, folder: Path) -> None:
    told = verify("quote.bin", *TDX, "--ear", "cwt", "--ear-key", "p256.pem", "--out", "result.cwt")
    assert told.code == 20
    assert b"NOT VERIFIED" in told.out
    assert decode_cwt((folder / "result.cwt").read_bytes(), KEYS["p256"].public_key()).nonce is None


def test_machine_of_refused_signatures_is_in_no_result(verify: Verify, folder: Path) -> None:
    spoiled = bytearray((folder / "quote.bin").read_bytes())
    spoiled[200] ^= 1
    (folder / "spoiled.bin").write_bytes(spoiled)
    told = verify("spoiled.bin", *TDX, "--ear", "json")
    result = told.document["submods"]
    assert told.code == 10
    assert isinstance(result, dict)
    assert "sottovoce_platform" not in result["cpu"]["ear_verifier_claims"]


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (("--ear", "jwt"), 2, "needs --ear-key"),
        (("--ear", "cwt"), 2, "needs --ear-key"),
        (("--ear", "json", "--ear-key", "p256.pem"), 2, "needs --ear jwt or --ear cwt"),
        (("--ear-key", "p256.pem"), 2, "needs --ear jwt or --ear cwt"),
        (("--out", "x"), 2, "needs --ear"),
        (("--cmw", "x.txt"), 2, "ends in .json or .cbor"),
        (("--ear", "none"), 2, "invalid"),
        (("--ear", "jwt", "--ear-key", "rsa.pem"), 20, "P-256 or Ed25519"),
        (("--ear", "jwt", "--ear-key", "p384.pem"), 20, "found secp384r1"),
        (("--ear", "jwt", "--ear-key", "secret.pem"), 20, "without a password"),
        (("--ear", "jwt", "--ear-key", "quote.bin"), 20, "private key in PEM"),
        (("--ear", "jwt", "--ear-key", "missing.pem"), 20, "No such file"),
        (("--ear", "json", "--out", "missing/x"), 20, "No such file"),
        (("--event-log", "missing"), 20, "No such file"),
        (("--event-log", "."), 20, "Is a directory"),
        (("--pcr", "4=00"), 2, "expected a register"),
        (("--pcr", "x"), 2, "expected a register"),
        (("--pcr", f"24={'00' * 32}"), 2, "expected a register"),
        (("--pcr", f"4={'00' * 32}", "--pcr", f"4={'00' * 32}"), 2, "expected a register"),
        (("--tpm-quote", "quote.msg"), 2, "--tpm-quote does not belong"),
        (("--google-instance", "a/b"), 2, "PROJECT/ZONE/INSTANCE"),
        (("--google-instance", "0/europe-west4-a/1"), 2, "PROJECT/ZONE/INSTANCE"),
        (("--google-host-record", "ccel.bin"), 2, "named after the PPID"),
    ],
)
def test_mistake_is_said_with_what_to_do(
    verify: Verify, options: tuple[str, ...], code: int, complaint: str
) -> None:
    told = verify("quote.bin", *TDX, *options)
    assert told.code == code
    assert complaint in " ".join((told.error + told.out.decode()).split())


def test_evidence_is_wrapped(verify: Verify, folder: Path) -> None:
    assert verify("quote.bin", *TDX, "--cmw", "quote.json").code == 20
    record = cmw.decode_record_json((folder / "quote.json").read_bytes())
    assert (record.media_type, record.content) == (cmw.TDX_QUOTE, (folder / "quote.bin").read_bytes())
    assert verify("document.json", "--policy", "snp.toml", "--cmw", "document.cbor").code == 0
    record = cmw.decode_record_cbor((folder / "document.cbor").read_bytes())
    assert record == cmw.evidence_document((folder / "document.json").read_bytes())


@pytest.mark.parametrize("signature", ["quote.sig", "quote.tss"])
def test_azure_on_sev_snp_is_verified_down_to_the_registers(verify: Verify, signature: str) -> None:
    tpm = tuple(signature if each == "quote.sig" else each for each in TPM)
    told = verify("hcl.bin", *SNP, *tpm, *NONCE, *USER_DATA, *PCR, "--json")
    assert (told.code, told.outcomes()) == (0, {})


def test_azure_on_tdx_is_verified_down_to_the_registers(verify: Verify) -> None:
    td_quote = ("--td-quote", "td_quote.bin")
    told = verify("hcl_td.bin", *TDX, *td_quote, *TPM, *NONCE, *USER_DATA, *PCR, "--json")
    assert (told.code, told.outcomes()) == (0, {})


@pytest.mark.parametrize(
    ("options", "code", "outcomes"),
    [
        ((*NONCE, *USER_DATA), 10, {"guest measurements": "not evaluated"}),
        ((*NONCE, *PCR), 20, {"user data": "waived"}),
        ((*USER_DATA, *PCR), 20, {"tpm quote nonce": "waived"}),
        ((*USER_DATA, *PCR, "--nonce", "00"), 10, {"tpm quote nonce": "fail"}),
        ((*NONCE, *PCR, "--user-data", "00"), 10, {"user data": "fail"}),
        ((*NONCE, *USER_DATA, "--pcr", f"4={'00' * 32}"), 10, {"guest measurements": "fail"}),
    ],
)
def test_what_azure_does_not_prove_is_named(
    verify: Verify, options: tuple[str, ...], code: int, outcomes: dict[str, str]
) -> None:
    told = verify("hcl.bin", *SNP, *TPM, *options, "--json")
    assert (told.code, told.outcomes()) == (code, outcomes)


def test_azure_without_a_list_waives_the_hardware_too(verify: Verify) -> None:
    certificates = ("--certs", "chain.pem", "leaf.der", "--policy", "snp.toml")
    told = verify("hcl.bin", *certificates, *TPM, *NONCE, *USER_DATA, *PCR, "--json")
    assert told.code == 20
    assert told.outcomes() == {
        "revocation": "waived",
        "revocation list age": "waived",
        "hardware signature": "waived",
    }


def test_azure_on_tdx_without_a_quote_proves_nothing(verify: Verify) -> None:
    told = verify("hcl_td.bin", *TDX, *TPM, *NONCE, *USER_DATA, *PCR, "--json")
    assert told.code == 10
    assert told.outcomes() == {"hardware signature": "not evaluated", "td quote agreement": "not evaluated"}
    assert told.document["tee"] == "tdx"


def test_azure_blob_that_is_cut_is_refused(verify: Verify, folder: Path) -> None:
    (folder / "cut.bin").write_bytes((folder / "hcl.bin").read_bytes()[:1300])
    told = verify("cut.bin", *SNP, *TPM, *NONCE, "--json")
    assert told.code == 10
    assert told.outcomes()["hcl blob"] == "fail"


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        ((*SNP, *TPM[:4]), 2, "--pcrs FILE"),
        (("--policy", "snp.toml", *TPM), 2, "--certs VCEK ASK ARK"),
        ((*SNP, *TPM[:2], "--tpm-signature", "leaf.der", *TPM[4:]), 20, "tpm2_quote -s"),
        ((*SNP, *TPM[:4], "--pcrs", "leaf.der"), 20, "-F values"),
    ],
)
def test_azure_files_that_do_not_fit_are_said(
    verify: Verify, options: tuple[str, ...], code: int, complaint: str
) -> None:
    told = verify("hcl.bin", *options)
    assert told.code == code
    assert complaint in " ".join(told.error.split())


def test_registers_beside_no_quote_are_a_failed_check(verify: Verify) -> None:
    told = verify("hcl.bin", *SNP, "--tpm-quote", "leaf.der", *TPM[2:], *NONCE, "--json")
    assert told.code == 10
    assert told.outcomes()["tpm quote"] == "fail"


def test_google_machine_is_named_or_the_checks_fail(verify: Verify, folder: Path) -> None:
    setting = replace(TdxSetting(at=NOW), quote=QuoteFields(TdFields(mrowner=INSTANCE.owner())))
    running = trust_domain.domain(setting)
    (folder / "google.bin").write_bytes(running.evidence_quote(DATA.ljust(64, b"\x00")))
    policy = trust_domain.policy()
    accepting = replace(policy, tdx=replace(policy.tdx, mrowners=frozenset({INSTANCE.owner()})))
    (folder / "google.toml").write_text(render_policy(accepting))
    record = folder / f"{Platform().ppid.hex()}.json"
    record.write_text('{"zone": "europe-west4-a", "timestamp": "2026-07-01"}')
    given = ("google.bin", *TDX[:2], "--policy", "google.toml", "--nonce", DATA.hex())
    named = ("--google-instance", "123456/europe-west4-a/987654", "--google-host-record", record.name)
    assert verify(*given, *named).code == 0
    both = {"google instance": "not evaluated", "google host record": "not evaluated"}
    told = verify(*given, "--cloud", "google", "--json")
    assert (told.code, told.outcomes()) == (10, both)
    other = verify(*given, "--google-instance", "123456/europe-west4-a/1", *named[2:], "--json")
    assert (other.code, other.outcomes()) == (10, {"google instance": "fail"})


def test_google_checks_of_no_quote_fail(verify: Verify, folder: Path) -> None:
    (folder / "half.bin").write_bytes((folder / "quote.bin").read_bytes()[:600])
    told = verify("half.bin", "--google-instance", "123456/europe-west4-a/987654", "--json")
    assert told.code == 10
    assert told.outcomes()["google instance"] == "fail"


@pytest.mark.parametrize("name", ["gpu.txt", "gpu.bin"])
def test_gpu_is_judged_and_never_verified(verify: Verify, name: str) -> None:
    given = (name, "--certs", "gpu.pem", "--policy", "gpu.toml")
    told = verify(*given, "--nonce", gpu.NONCE.hex(), "--json")
    assert (told.code, told.outcomes()) == (20, {"revocation": "waived", "gpu measurements": "waived"})
    assert verify(*given, "--nonce", "00").code == 10
    result = verify(*given, "--ear", "json").document["submods"]
    assert isinstance(result, dict)
    assert result["gpu"]["ear_status"] == "contraindicated"


def test_request_to_nvidias_service_brings_its_chain(verify: Verify, folder: Path) -> None:
    one = {
        "evidence": base64.b64encode((folder / "gpu.bin").read_bytes()).decode(),
        "certificate": base64.b64encode((folder / "gpu.pem").read_bytes()).decode(),
    }
    payload = {"nonce": gpu.NONCE.hex(), "arch": "HOPPER", "evidence_list": [one]}
    (folder / "request.json").write_text(json.dumps(payload))
    told = verify("request.json", "--policy", "gpu.toml", "--json")
    assert told.code == 20
    assert told.outcomes()["gpu nonce"] == "waived"
    (folder / "request.json").write_text(json.dumps({**payload, "evidence_list": [one, one]}))
    assert "found 2" in verify("request.json").error
    (folder / "request.json").write_text(json.dumps({**payload, "nonce": ""}))
    assert verify("request.json").code == 20


def test_gpu_report_needs_a_chain_and_whole_digits(verify: Verify, folder: Path) -> None:
    assert verify("gpu.txt").code == 2
    (folder / "odd.txt").write_text("11e001ff0")
    told = verify("odd.txt", "--certs", "gpu.pem")
    assert told.code == 20
    assert "hexadecimal digits" in told.error


def test_file_options_beside_a_url_are_wrong_usage(verify: Verify) -> None:
    told = verify("https://llm.example", "--nonce", "00", "--certs", "leaf.der")
    assert told.code == 2
    assert "--at, --certs, --nonce" in told.error
