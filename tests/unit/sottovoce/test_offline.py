# SPDX-License-Identifier: Apache-2.0
"""Evidence in files: its kind is told from its content, and what is missing is said."""

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from attestation.policy import render_policy
from attestation.verdict import Outcome, Verdict
from sottovoce.files import UsageError
from sottovoce.offline import Files, Kind, OfflineError, in_order, judge, kind_of, nonce, unix_time
from tests.fakes import hardware, trust_domain

DATA = bytes([7]) * 32
SNP = hardware.evidence(spoil=lambda fields: replace(fields, report_data=DATA.ljust(64, b"\x00")))
QUOTE = trust_domain.domain().evidence_quote(DATA.ljust(64, b"\x00"))
COLLATERAL = trust_domain.domain().collateral.encode()


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Judge files as at the time of the evidence."""
    command = [sys.executable, "-P", "-m", "sottovoce", "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)


def pem(label: str, *values: bytes) -> bytes:
    blocks = [
        f"-----BEGIN {label}-----\n{wrapped(base64.b64encode(value).decode())}\n-----END {label}-----\n"
        for value in values
    ]
    return "".join(blocks).encode()


def wrapped(text: str) -> str:
    return "\n".join(text[start : start + 64] for start in range(0, len(text), 64))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with everything that belongs to a report and to a quote."""
    leaf, intermediate, root = SNP.chain
    contents = {
        "report.bin": SNP.report,
        "leaf.der": leaf,
        "chain.pem": pem("CERTIFICATE", intermediate, root),
        "list.der": SNP.crl,
        "list.pem": pem("X509 CRL", SNP.crl),
        "quote.bin": QUOTE,
        "collateral.json": COLLATERAL,
        "document.json": hardware.evidence().encode(),
        "snp.toml": render_policy(hardware.policy()).encode(),
        "tdx.toml": render_policy(trust_domain.policy()).encode(),
        "rubbish": b"rubbish",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def snp(files: Path, *more: object) -> "subprocess.CompletedProcess[str]":
    certificates = ("--certs", files / "chain.pem", files / "leaf.der")
    accepted = ("--policy", files / "snp.toml", "--at", hardware.NOW)
    return run(files / "report.bin", *certificates, *accepted, *more)


def tdx(files: Path, *more: object) -> "subprocess.CompletedProcess[str]":
    return run(files / "quote.bin", "--policy", files / "tdx.toml", "--at", hardware.NOW, *more)


@pytest.mark.parametrize("crl", ["list.der", "list.pem"])
def test_report_with_all_that_belongs_to_it_is_verified(files: Path, crl: str) -> None:
    told = snp(files, "--crl", files / crl, "--nonce", DATA.hex(), "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout)["verified"] is True


def test_report_without_list_and_nonce_could_not_be_checked(files: Path) -> None:
    told = snp(files)
    assert told.returncode == 20
    assert "NOT VERIFIED: nothing is wrong, but 3 of" in " ".join(told.stdout.split())


def test_nonce_is_not_the_beginning_of_anything_else(files: Path) -> None:
    told = snp(files, "--nonce", DATA[:16].hex(), "--json")
    assert told.returncode == 10
    assert json.loads(told.stdout)["refused"] is True


def test_quote_is_verified_with_collateral_and_judged_without(files: Path) -> None:
    whole = ("--collateral", files / "collateral.json", "--nonce", DATA.hex())
    assert tdx(files, *whole, "--json").returncode == 0
    assert tdx(files, "--nonce", DATA.hex()).returncode == 20
    assert tdx(files, "--nonce", "00").returncode == 10


def test_document_is_verified_at_its_time(files: Path) -> None:
    """In a file it has no address, so the policy has to name the audience."""
    document, accepted = files / "document.json", ("--policy", files / "snp.toml")
    assert run(document, *accepted, "--at", hardware.NOW).returncode == 0
    assert run(document, *accepted, "--at", "2040-01-01T00:00:00Z").returncode == 10


def test_result_in_the_words_of_the_standard(files: Path) -> None:
    told = snp(files, "--nonce", DATA.hex(), "--ear", "json")
    result = json.loads(told.stdout)
    assert told.returncode == 20
    assert result["eat_profile"] == "tag:ietf.org,2026:rats/ear#04"
    assert result["submods"]["cpu"]["ear_status"] == "contraindicated"
    whole = tdx(files, "--collateral", files / "collateral.json", "--nonce", "00", "--ear", "json")
    assert whole.returncode == 10
    assert "eat_nonce" not in json.loads(whole.stdout)


@pytest.mark.parametrize(
    ("name", "options", "code", "complaint"),
    [
        ("rubbish", (), 20, "none of these"),
        ("report.bin", (), 2, "needs the certificates"),
        ("report.bin", ("--collateral", "collateral.json"), 2, "--collateral does not belong"),
        ("quote.bin", ("--certs", "leaf.der"), 2, "--certs does not belong"),
        ("document.json", ("--nonce", "00"), 2, "--nonce does not belong"),
        ("quote.bin", ("--nonce", "0g"), 20, "hexadecimal"),
        ("quote.bin", ("--at", "yesterday"), 20, "unix seconds"),
        ("quote.bin", ("--collateral", "missing"), 20, "missing"),
        ("report.bin", ("--certs", "list.pem"), 20, "PEM"),
        ("missing", ("--nonce", "00"), 20, "there is no file"),
    ],
)
def test_what_does_not_fit_could_not_be_checked(
    files: Path, name: str, options: tuple[str, ...], code: int, complaint: str
) -> None:
    placed = [files / each if (files / each).exists() or each == "missing" else each for each in options]
    told = run(files / name, *placed, "--json")
    assert told.returncode == code
    assert complaint in json.loads(told.stdout)["error"]


def judged(given: Files) -> Verdict:
    """The verdict that the command would print."""
    policy = trust_domain.policy() if given.evidence.name == "quote.bin" else hardware.policy()
    return judge(given, policy, hardware.NOW).verdict


def outcomes(verdict: Verdict) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in verdict.checks if check.outcome is not Outcome.PASSED}


@pytest.mark.parametrize("crl", ["list.der", "list.pem"])
def test_everything_that_belongs_to_a_report_is_used(files: Path, crl: str) -> None:
    alone = Files(files / "report.bin", certificates=(files / "chain.pem", files / "leaf.der"))
    assert judged(replace(alone, crl=files / crl, nonce=DATA)).verified
    partly = judged(alone)
    assert not partly.verified
    assert not partly.refused
    assert {name for name, outcome in outcomes(partly).items() if outcome is Outcome.WAIVED} == {
        "revocation",
        "revocation list age",
        "report data binding",
    }
    assert judged(replace(alone, nonce=DATA[:16])).refused
    assert judged(replace(alone, certificates=(files / "chain.pem",))).refused


def test_everything_that_belongs_to_a_quote_is_used(files: Path) -> None:
    alone = Files(files / "quote.bin", nonce=DATA)
    assert judged(replace(alone, collateral=files / "collateral.json")).verified
    partly = judged(alone)
    assert not partly.verified
    assert not partly.refused
    assert judged(replace(alone, nonce=b"\x00")).refused


def test_a_document_brings_everything(files: Path) -> None:
    assert judged(Files(files / "document.json")).verified


HERE = Path()


@pytest.mark.parametrize(
    ("given", "error", "complaint"),
    [
        (Files(HERE / "report.bin"), UsageError, "needs the certificates"),
        (
            Files(HERE / "report.bin", (HERE / "leaf.der",), collateral=HERE / "collateral.json"),
            UsageError,
            "--collateral",
        ),
        (Files(HERE / "report.bin", (HERE / "list.pem",)), OfflineError, "PEM blocks CERTIFICATE"),
        (Files(HERE / "quote.bin", (HERE / "leaf.der",)), UsageError, "--certs does"),
        (Files(HERE / "quote.bin", crl=HERE / "list.der"), UsageError, "--crl does"),
        (Files(HERE / "quote.bin", collateral=HERE / "missing"), OfflineError, "No such file"),
        (Files(HERE / "document.json", nonce=b"\x00"), UsageError, "--nonce does"),
        (Files(HERE / "rubbish"), OfflineError, "none of these"),
        (Files(HERE / "large"), OfflineError, "more than 1048576 bytes"),
    ],
)
def test_what_does_not_fit_is_said(
    files: Path, monkeypatch: pytest.MonkeyPatch, given: Files, error: type[Exception], complaint: str
) -> None:
    (files / "large").write_bytes(b"{" * (1 << 20) + b"}")
    monkeypatch.chdir(files)
    with pytest.raises(error, match=complaint):
        judged(given)


def test_kinds_are_told_by_content() -> None:
    assert kind_of(SNP.report) is Kind.SNP_REPORT
    assert kind_of(QUOTE) is Kind.TDX_QUOTE
    assert kind_of(b"{}") is Kind.DOCUMENT
    for other in (b"", SNP.report[:-1], b"\x06" + SNP.report[1:], QUOTE[:4] + bytes(4) + QUOTE[8:], b"[]"):
        with pytest.raises(OfflineError):
            kind_of(other)


def test_certificates_are_put_in_order_by_name() -> None:
    leaf, intermediate, root = SNP.chain
    assert in_order((root, leaf, intermediate)) == SNP.chain
    assert in_order((b"?", root, leaf, intermediate)) == (*SNP.chain, b"?")
    assert in_order((trust_domain.domain().root, leaf))[0] == leaf


def test_times_have_an_offset() -> None:
    assert (
        unix_time("1790000000") == unix_time("2026-09-21T14:13:20Z") == unix_time("2026-09-21T16:13:20+02:00")
    )
    for text in ("2026-09-21T14:13:20", "noon", "-1"):
        with pytest.raises(OfflineError):
            unix_time(text)


def test_nonce_has_1_to_64_bytes() -> None:
    assert nonce("00" * 64) == bytes(64)
    for text in ("", "0", "00" * 65, "xy"):
        with pytest.raises(OfflineError):
            nonce(text)


def test_files_are_bounded(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"{" * (1 << 20) + b"}")
    assert run(large).returncode == 20
