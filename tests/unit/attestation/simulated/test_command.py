# SPDX-License-Identifier: Apache-2.0
"""The command writes files that others can judge, and says what they should find."""

import subprocess
import sys
import uuid
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import dcap_qvl
import pytest

from attestation.policy import Product, parse_policy
from attestation.simulated import __main__ as command
from attestation.simulated.intel_certificates import fingerprint
from attestation.simulated.snp_knobs import SNP_KNOBS
from attestation.simulated.tdx_knobs import TDX_KNOBS
from attestation.snp.report import parse_report
from attestation.verify import verify_snp_report, verify_tdx_quote
from tests.fakes.hardware import NOW, vendor

ROOT = Path(__file__).parents[4]
TIME = datetime.fromtimestamp(NOW, UTC).isoformat()


def tdx(out: Path, *options: str) -> str:
    """Write a quote; the README."""
    command.main(["tdx", "--seed", "demo", "--at", str(NOW), "--out", str(out), *options])
    return (out / "README.md").read_text(encoding="utf-8")


def snp(out: Path, *options: str) -> str:
    """Write a report; the README."""
    folder = str(vendor().folder)
    command.main(["snp", "--folder", folder, "--at", TIME, "--out", str(out), *options])
    return (out / "README.md").read_text(encoding="utf-8")


def judged(folder: Path) -> str:
    """What dcap-qvl says of the files."""
    collateral = dcap_qvl.QuoteCollateralV3.from_json(
        (folder / "collateral.json").read_text(encoding="ascii")
    )
    root, quote = ((folder / name).read_bytes() for name in ("root.der", "quote.bin"))
    return dcap_qvl.verify_with_root_ca(quote, collateral, root, NOW).status


def test_tdx_files_are_good(tmp_path: Path) -> None:
    readme = tdx(tmp_path, "--report-data", "ab" * 64, "--measurement", "cd" * 48)
    assert judged(tmp_path) == "UpToDate"
    assert "**accepted, with status UpToDate**" in readme
    assert (tmp_path / "root.der").exists()
    report = dcap_qvl.Quote.parse((tmp_path / "quote.bin").read_bytes()).report
    assert (report.report_data, report.mr_td) == (bytes([0xAB]) * 64, bytes([0xCD]) * 48)
    assert (tmp_path / "pck_chain.pem").read_text(encoding="ascii").count("BEGIN") == 3


def test_the_same_options_give_the_same_files(tmp_path: Path) -> None:
    options = ("--quote-version", "5", "--body-type", "4", "--status", "TDRelaunchAdvised")
    readmes = [tdx(tmp_path / name, *options) for name in ("one", "two")]
    assert readmes[0] == readmes[1]
    assert judged(tmp_path / "one") == "TDRelaunchAdvised"
    assert "**status TDRelaunchAdvised: refused unless the policy accepts that status**" in readmes[0]


def test_files_are_for_everyone_and_hold_no_key(tmp_path: Path) -> None:
    tdx(tmp_path / "tdx")
    tdx(tmp_path / "tdx")
    snp(tmp_path / "snp")
    for file in (*(tmp_path / "tdx").iterdir(), *(tmp_path / "snp").iterdir()):
        assert file.stat().st_mode & 0o777 == 0o644
        assert b"PRIVATE" not in file.read_bytes()
        assert not file.name.startswith(".")


def test_readme_has_the_digest_of_every_file(tmp_path: Path) -> None:
    readme = tdx(tmp_path)
    for file in tmp_path.iterdir():
        row = f"| {file.name} | {file.stat().st_size} | {sha256(file.read_bytes()).hexdigest()} |"
        assert (row in readme) is (file.name != "README.md")


@pytest.mark.parametrize("name", ["key-swap", "attribute-debug", "expired-tcb-info"])
def test_spoiled_quote_says_which_check_must_notice(tmp_path: Path, name: str) -> None:
    readme = tdx(tmp_path, "--spoil", name)
    assert f"**refused by check {TDX_KNOBS[name].check}: {TDX_KNOBS[name].meaning}**" in readme
    with pytest.raises(ValueError, match=r"\S"):
        judged(tmp_path)


def test_unusual_quote_says_that_it_is_right(tmp_path: Path) -> None:
    assert "**accepted, with status UpToDate; zeros after the quote" in tdx(tmp_path, "--spoil", "padding")


def test_status_that_no_policy_accepts(tmp_path: Path) -> None:
    assert "**status Revoked: refused**" in tdx(tmp_path, "--status", "Revoked")


@pytest.mark.parametrize("product", Product)
def test_snp_files_are_good(tmp_path: Path, product: Product) -> None:
    readme = snp(tmp_path, "--product", product.value, "--report-version", "5", "--report-data", "ab" * 64)
    report = parse_report((tmp_path / "report.bin").read_bytes())
    policy = parse_policy((tmp_path / "policy.toml").read_text(encoding="utf-8"))
    root = fingerprint((tmp_path / "ark.der").read_bytes())
    assert report.version == 5
    assert report.report_data == bytes([0xAB]) * 64
    assert policy.measurements == {report.measurement}
    assert policy.machines == frozenset[bytes]({report.chip_id})
    assert policy.products == {product}
    assert policy.simulated_roots.fingerprints == {root}
    assert root.hex() in readme
    assert "**accepted**" in readme


def test_spoiled_report_says_which_check_must_notice(tmp_path: Path) -> None:
    readme = snp(tmp_path, "--vlek", "--spoil", "debug")
    assert f"**refused by check A3: {SNP_KNOBS['debug'].meaning}**" in readme
    assert {"vlek.der", "asvk.der"} <= {file.name for file in tmp_path.iterdir()}


def test_seed_gives_the_same_chip_in_every_folder(tmp_path: Path) -> None:
    snp(tmp_path / "one", "--seed", "demo")
    other = str(vendor("attacker").folder)
    command.main(["snp", "--folder", other, "--seed", "demo", "--at", TIME, "--out", str(tmp_path / "two")])
    reports = [(tmp_path / name / "report.bin").read_bytes() for name in ("one", "two")]
    assert reports[0] == reports[1]


def test_certificate_table_is_read_like_a_hosts(tmp_path: Path) -> None:
    snp(tmp_path)
    table = (tmp_path / "certificate_table.bin").read_bytes()
    names = {
        "63da758d-e664-4564-adc5-f4b93be8accd": "vcek.der",
        "4ab7b379-bbac-4fe4-a02f-05aef327c782": "ask.der",
        "c0b406a4-a803-4952-9743-3fb6014cd0ae": "ark.der",
    }
    for index, (name, file) in enumerate(names.items()):
        entry = table[24 * index : 24 * index + 24]
        offset, size = int.from_bytes(entry[16:20], "little"), int.from_bytes(entry[20:24], "little")
        assert entry[:16] == uuid.UUID(name).bytes_le
        assert table[offset : offset + size] == (tmp_path / file).read_bytes()
    assert not any(table[72:96])


def test_roots_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tdx(tmp_path)
    command.main(["root", "--tee", "tdx", "--seed", "demo"])
    assert capsys.readouterr().out.strip() == fingerprint((tmp_path / "root.der").read_bytes()).hex()
    command.main(["root", "--product", "turin", "--folder", str(vendor().folder)])
    assert capsys.readouterr().out.strip() == fingerprint(vendor().root(Product.TURIN)).hex()
    command.main(["root", "--tee", "tdx", "--folder", str(vendor().folder)])
    assert capsys.readouterr().out.strip() == fingerprint(vendor().intel.root(NOW)).hex()


@pytest.mark.parametrize("kind", ["snp", "tdx"])
def test_help_lists_the_knobs(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    with pytest.raises(SystemExit):
        command.main([kind, "--help"])
    text = capsys.readouterr().out
    knobs = SNP_KNOBS if kind == "snp" else TDX_KNOBS
    assert all(f"  {name} " in text and knob.meaning in text for name, knob in knobs.items())


@pytest.mark.parametrize(
    "options",
    [
        ["--spoil", "nothing"],
        ["--at", "yesterday"],
        ["--report-data", "ab"],
        ["--body-type", "5"],
        ["--status", "Fine"],
        ["--quote-version", "3"],
    ],
)
def test_wrong_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        tdx(tmp_path / "out", *options)
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_times_without_a_zone_are_utc(tmp_path: Path) -> None:
    readme = tdx(tmp_path, "--at", "2026-11-01T12:00:00")
    assert "2026-11-01 12:00:00 UTC" in readme


def test_it_is_a_program_of_its_own(tmp_path: Path) -> None:
    program = [sys.executable, "-P", "-m", "attestation.simulated"]
    run = subprocess.run(
        [*program, "tdx", "--seed", "demo", "--at", str(NOW), "--out", str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    assert run.stdout + run.stderr == b""
    assert judged(tmp_path) == "UpToDate"


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The policy that the command prints."""
    command.main(["policy", *options])
    return capsys.readouterr().out


@pytest.mark.parametrize("product", [product.value for product in Product])
@pytest.mark.parametrize("vlek", [(), ("--vlek",)])
def test_policy_for_each_product_is_that_of_its_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], product: str, vlek: tuple[str, ...]
) -> None:
    options = ("--product", product, *vlek, "--measurement", "cd" * 48)
    snp(tmp_path, *options)
    text = printed(capsys, "--folder", str(vendor().folder), *options)
    assert text == (tmp_path / "policy.toml").read_text(encoding="utf-8")
    policy = parse_policy(text)
    leaf = (tmp_path / ("vlek.der" if vlek else "vcek.der")).read_bytes()
    chain = (
        leaf,
        (tmp_path / ("asvk.der" if vlek else "ask.der")).read_bytes(),
        (tmp_path / "ark.der").read_bytes(),
    )
    report, crl = ((tmp_path / name).read_bytes() for name in ("report.bin", "crl.der"))
    verdict = verify_snp_report(report, chain, crl, policy, NOW, bytes(64))
    assert verdict.verified
    assert len(policy.measurements) == len(policy.simulated_roots.fingerprints) == len(policy.products) == 1


def test_policy_for_tdx_is_that_of_its_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tdx(tmp_path, "--measurement", "cd" * 48)
    text = printed(capsys, "--tee", "tdx", "--seed", "demo", "--measurement", "cd" * 48)
    assert text == (tmp_path / "policy.toml").read_text(encoding="utf-8")
    quote, collateral = ((tmp_path / name).read_bytes() for name in ("quote.bin", "collateral.json"))
    assert verify_tdx_quote(quote, collateral, parse_policy(text), NOW, bytes(64)).verified
    others = (
        printed(capsys, "--tee", "tdx", "--seed", "other", "--measurement", "cd" * 48),
        printed(capsys, "--tee", "tdx", "--seed", "demo"),
        printed(capsys, "--folder", str(vendor().folder)),
    )
    for other in others:
        assert verify_tdx_quote(quote, collateral, parse_policy(other), NOW, bytes(64)).refused
