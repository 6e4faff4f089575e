# SPDX-License-Identifier: Apache-2.0
"""The simulated vendor keeps its keys to itself and survives a restart; only its root tells it apart."""

import gc
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from attestation.policy import AnyModel, parse_policy
from attestation.simulated import __main__ as command
from attestation.simulated.vendor import SimulatedVendor, VendorError, code_measurement, store
from attestation.snp.report import parse_report
from tests.fakes.hardware import MEASUREMENT, NOW, guest, vendor

ROOT = Path(__file__).parents[3]
FIRST_USE = """
import sys
from pathlib import Path
from attestation.simulated.vendor import SimulatedVendor
print(SimulatedVendor.open(Path(sys.argv[1])).root_fingerprint.hex())
"""


def test_folder_is_private() -> None:
    folder = vendor().folder
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_vendor_outlives_a_process() -> None:
    again = SimulatedVendor.open(vendor().folder)
    assert again == vendor()
    assert again.power_on(MEASUREMENT, now=NOW).chain[1:] == guest().chain[1:]


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "simulated"
    arguments = [sys.executable, "-c", FIRST_USE, str(folder)]
    processes = [subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    fingerprints = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert fingerprints == {SimulatedVendor.open(folder).root_fingerprint.hex()}
    assert [path.name for path in folder.parent.iterdir()] == ["simulated"]


def test_later_process_leaves_what_the_first_made(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        store(tmp_path / "folder", {"ark.key": content})
    assert (tmp_path / "folder" / "ark.key").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_vendor_that_cannot_be_stored_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("")
    with pytest.raises(NotADirectoryError):
        store(tmp_path / "folder", {"ark.key": b"first"})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(VendorError, match=r"ark\.der"):
        SimulatedVendor.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        SimulatedVendor.open(tmp_path / "file")


def test_wrong_key_in_the_folder_is_an_error(tmp_path: Path) -> None:
    for file in vendor().folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "ark.key").write_bytes(bytes.fromhex("302e020100300506032b657004220420") + bytes(32))
    with pytest.raises(VendorError, match="RSA"):
        SimulatedVendor.open(tmp_path).revocation_list(now=NOW)


def test_guest_holds_none_of_the_vendors_keys() -> None:
    machine = vendor().power_on(MEASUREMENT, now=NOW)
    reachable = gc.get_referents(machine)
    assert reachable
    assert not any(isinstance(item, rsa.RSAPrivateKey) for item in reachable)
    assert "key=" not in repr(machine)


def test_reports_are_of_the_guest() -> None:
    parsed = parse_report(guest().evidence_report(bytes([6]) * 64))
    assert parsed.report_data == bytes([6]) * 64
    assert parsed.measurement == MEASUREMENT
    assert parsed.chip_id == vendor().chip_id


def copied_code(folder: Path) -> Path:
    for package in ("attestation", "enclave", "models", "wire"):
        (folder / package / "deep").mkdir(parents=True)
        (folder / package / "deep" / "module.py").write_text(package)
    (folder / "models" / "model.toml").write_text("size = 1")
    return folder


def test_every_byte_of_code_is_measured(tmp_path: Path) -> None:
    measurement = code_measurement(copied_code(tmp_path))
    (tmp_path / "wire" / "notes.md").write_text("not code")
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "relay.py").write_text("not in the image")
    assert code_measurement(tmp_path) == measurement
    for change in ("models/model.toml", "enclave/deep/module.py", "wire/new.py"):
        before = code_measurement(tmp_path)
        with (tmp_path / change).open("a") as file:
            file.write("\n")
        assert code_measurement(tmp_path) != before


def test_missing_code_is_not_measured_as_none(tmp_path: Path) -> None:
    (copied_code(tmp_path) / "enclave" / "deep" / "module.py").unlink()
    with pytest.raises(FileNotFoundError, match="enclave"):
        code_measurement(tmp_path)


def test_command_prints_the_policy_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["policy", "--folder", str(vendor().folder)])
    policy = parse_policy(capsys.readouterr().out)
    assert policy.measurements == {code_measurement(ROOT)}
    assert policy.machines == frozenset[bytes]({vendor().chip_id})
    assert policy.models is AnyModel.ANY_MODEL
    assert policy.simulated_roots.fingerprints == {vendor().root_fingerprint}


def test_command_prints_the_root(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["root", "--folder", str(vendor().folder)])
    assert capsys.readouterr() == (vendor().root_fingerprint.hex() + "\n", "")


def test_command_is_a_program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["simulated", "root", "--folder", str(vendor().folder)])
    runpy.run_path(str(command.__file__), run_name="__main__")
    assert capsys.readouterr().out.strip() == vendor().root_fingerprint.hex()


def test_command_announces_the_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        command.main(["root", "--folder", str(tmp_path / "file" / "new")])
    assert "some seconds" in capsys.readouterr().err


def test_default_folder_follows_the_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert command.default_folder() == Path("/data/sottovoce/simulated")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", "/home/ada")
    assert command.default_folder() == Path("/home/ada/.local/share/sottovoce/simulated")
