# SPDX-License-Identifier: Apache-2.0
"""The operations on real files, and patience."""

import errno
import resource
from pathlib import Path

import pytest

from attestation.collect.device import open_device
from attestation.collect.errors import BusyError
from attestation.collect.files import SystemFiles
from attestation.collect.patience import Patience
from tests.fakes.kernel import Clock

FILES = SystemFiles()


def test_folders_and_files(tmp_path: Path) -> None:
    folder = tmp_path / "request"
    FILES.make_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        FILES.make_folder(folder)
    (folder / "inblob").touch()
    FILES.write(folder / "inblob", b"content")
    assert FILES.exists(folder / "inblob")
    assert not FILES.exists(folder / "outblob")
    (folder / "inblob").unlink()
    FILES.remove_folder(folder)
    assert not FILES.exists(folder)


@pytest.mark.parametrize(("limit", "content"), [(6, b"content"), (7, b"content"), (8, b"content")])
def test_reading_stops_one_byte_beyond_the_limit(tmp_path: Path, limit: int, content: bytes) -> None:
    (tmp_path / "blob").write_bytes(b"content" if limit > 6 else b"content and more")
    assert FILES.read(tmp_path / "blob", limit) == content


def test_attribute_is_never_created(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FILES.write(tmp_path / "inblob", b"content")


def test_write_in_parts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "inblob").touch()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(OSError, match="wrote 4 of 7 bytes to inblob"):
            FILES.write(tmp_path / "inblob", b"content")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_device_has_one_user_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.touch()
    with open_device(path) as device:
        with pytest.raises(BlockingIOError), open_device(path):
            pytest.fail("two users at once")
        with pytest.raises(OSError, match="ioctl") as raised:
            device.control(0xC0205300, bytearray(32))
    assert raised.value.errno == errno.ENOTTY
    with open_device(path):
        pass


def test_patience_has_both_bounds() -> None:
    def fail() -> None:
        raise BusyError("busy")

    clock = Clock()
    with pytest.raises(BusyError):
        clock.patience(attempts=3).repeat(fail, (BusyError,))
    assert clock.now == 1.0
    with pytest.raises(RuntimeError, match="at least one attempt"):
        Patience(attempts=0).repeat(fail, (BusyError,))
