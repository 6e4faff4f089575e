# SPDX-License-Identifier: Apache-2.0
"""Somebody runs code inside a process of the enclave, or sits beside it on the same machine."""

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Pair, arguments, wait_until

SESSION, ENGINE, REPORTER = "enclave.serve", "enclave.engine", "enclave.reporter"
PARTS = (SESSION, ENGINE, REPORTER)
PART_IN_EVENTS = {SESSION: "session", ENGINE: "engine", REPORTER: "reporter"}


def status(process_id: int) -> dict[str, str]:
    """What the kernel says of a process (proc(5))."""
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_enclave_is_confined(pair: Pair, part: str) -> None:
    process_id = pair.process(part)
    said = status(process_id)
    threads = [status(int(thread.name)) for thread in Path(f"/proc/{process_id}/task").iterdir()]
    assert len(threads) > 1 or part != SESSION  # where one waits for reports
    assert {(thread["Seccomp"], thread["NoNewPrivs"]) for thread in threads} == {("2", "1")}
    unlocked = {"event": "Unprotected", "part": PART_IN_EVENTS[part], "protection": "memory_locked"}
    reported = any(unlocked.items() <= json.loads(event).items() for event in pair.events().splitlines())
    assert reported == (int(said["VmLck"].split()[0]) == 0)  # locked, or said not to be
    limits = Path(f"/proc/{process_id}/limits").read_text(encoding="ascii")
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]


# Become another user, where we may: what root can do on a simulated machine is no test of anything.
NOBODY = "if os.getuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(65534)"


@pytest.mark.parametrize("part", PARTS)
def test_neighbour_cannot_read_the_memory_of_the_enclave(pair: Pair, part: str) -> None:
    """An undumpable process belongs to root in /proc, and not even its own user may read it."""
    program = f"import os\n{NOBODY}\nopen('/proc/{pair.process(part)}/mem', 'rb').read(1)"
    tried = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, check=False, timeout=60
    )
    assert tried.returncode == 1
    assert b"PermissionError" in tried.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="the environment of an enclave can be read by root alone")
@pytest.mark.parametrize("part", PARTS)
def test_environment_of_the_enclave_is_fixed(pair: Pair, part: str) -> None:
    environment = Path(f"/proc/{pair.process(part)}/environ").read_bytes()
    names = sorted(entry.partition(b"=")[0] for entry in environment.split(b"\0") if entry)
    names = [name for name in names if not name.startswith(b"glibc.")]  # glibc cuts its own setting in pieces
    assert names == [b"GLIBC_TUNABLES", b"LC_ALL", b"OPENBLAS_NUM_THREADS", b"PATH", b"PYTHONMALLOC"]


PROBES = {
    "open a file": "open('/etc/hostname')",
    "write a file": "open('/tmp/leak', 'w')",
    "make a socket": "socket.socket()",
    "make a socket pair": "socket.socketpair()",
    "execute a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "signal a stranger": "os.kill(1, 0)",
    "trace a stranger": "ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0) and fail(ctypes.get_errno())",
    "read another process": "open('/proc/1/environ')",
    "rename a file": "os.rename('/tmp/a', '/tmp/b')",
    "make anonymous memory that can be shared": "os.memfd_create('x')",
}
CONFINED = """
import ctypes, os, socket
from enclave.protection import Protector, before_secrets, only_system_calls, without_files
from {module} import SYSTEM_CALLS

ctypes.CDLL(None)
protector = Protector(required={required})
def fail(number): raise OSError(number, os.strerror(number))
for step in (before_secrets(), without_files(), only_system_calls(SYSTEM_CALLS)):
    step.pop("dies_with_parent", None)
    protector.apply(step)
try:
    {probe}
except OSError as error:
    os._exit(100 + error.errno)
os._exit(0)
"""


@pytest.mark.parametrize("module", ["enclave.serve", "enclave.engine.__main__", "enclave.reporter"])
@pytest.mark.parametrize("probe", list(PROBES))
def test_code_inside_the_enclave_cannot(module: str, probe: str) -> None:
    program = CONFINED.format(module=module, probe=PROBES[probe], required=False)
    ended = subprocess.run(
        [sys.executable, "-B", "-c", program], capture_output=True, check=False, timeout=60
    )
    assert ended.returncode in (100 + errno.EPERM, 100 + errno.EACCES), ended.stderr


REPORTING = """
import ctypes, errno, os, pathlib, socket
from attestation.collect.device import open_device
from attestation.collect.files import SystemFiles
from enclave.protection import Protector, before_secrets, only_system_calls, without_files
from enclave.reporter import DEVICE_REQUESTS, HARDWARE_SYSTEM_CALLS, QUOTING_SYSTEM_CALLS

reports, files, device = pathlib.Path({reports!r}), SystemFiles(), pathlib.Path("/dev/null")
protector = Protector(required={required})
for step in (before_secrets(), without_files(reports, device), only_system_calls({calls}, *DEVICE_REQUESTS)):
    step.pop("dies_with_parent", None)
    step.pop("memory_locked", None)
    protector.apply(step)
def fail(number): raise OSError(number, os.strerror(number))
def control(request):
    with open_device(device) as opened:
        opened.control(request, bytearray(32))
try:
    {probe}
except OSError as error:
    os._exit(100 + error.errno)
os._exit(0)
"""
OUTSIDE_ITS_PATH = PROBES | {
    "make a folder elsewhere": "os.mkdir('/folder-of-the-reporter')",
    "send another request to a device": "control(0x5401)",
    "link a file": "os.link(reports / 'request' / 'inblob', reports / 'link')",
    "make a file": "open(reports / 'request' / 'new', 'w')",
}
ON_ITS_PATH = {
    "make and remove a folder": "files.make_folder(reports / 'r'), files.remove_folder(reports / 'r')",
    "write an attribute": "files.write(reports / 'request' / 'inblob', bytes(64))",
    "read an attribute": "files.read(reports / 'request' / 'inblob', 64)",
    "see an attribute": "files.exists(reports / 'request' / 'inblob') or fail(errno.ENOENT)",
}
REQUESTED = "control(DEVICE_REQUESTS[0])"  # /dev/null itself says that this is none of its requests


def reporting(folder: Path, probe: str, calls: str = "HARDWARE_SYSTEM_CALLS") -> int:
    """The exit status of a probe within the confinement of a reporter on hardware."""
    (folder / "request").mkdir()
    (folder / "request" / "inblob").touch()
    program = REPORTING.format(reports=str(folder), probe=probe, required=True, calls=calls)
    return subprocess.run([sys.executable, "-B", "-c", program], check=False, timeout=60).returncode


@pytest.mark.parametrize("probe", list(OUTSIDE_ITS_PATH))
def test_code_inside_the_reporter_cannot_leave_its_path(tmp_path: Path, probe: str) -> None:
    assert reporting(tmp_path, OUTSIDE_ITS_PATH[probe]) in (100 + errno.EPERM, 100 + errno.EACCES)


@pytest.mark.parametrize("probe", list(ON_ITS_PATH))
def test_the_reporter_can_use_its_path(tmp_path: Path, probe: str) -> None:
    assert reporting(tmp_path, ON_ITS_PATH[probe]) == 0


def test_the_reporter_can_use_its_device(tmp_path: Path) -> None:
    assert reporting(tmp_path, REQUESTED) == 100 + errno.ENOTTY


def test_code_inside_the_reporter_reaches_no_tcp_port(tmp_path: Path) -> None:
    """Where quotes come over vsock it may connect; TCP stays shut on kernels whose Landlock knows it."""
    if _landlock_version() < 4:
        pytest.skip("this kernel's Landlock does not know TCP")
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=5)"
        assert reporting(tmp_path, probe, "QUOTING_SYSTEM_CALLS") == 100 + errno.EACCES


def _landlock_version() -> int:
    return int(ctypes.CDLL(None).syscall(444, None, 0, 1))


def test_without_confinement_the_probe_would_work() -> None:
    """The probes of the tests above do what their names say."""
    with Path("/etc/hostname").open(encoding="utf-8") as file:
        assert file.read()
    for end in socket.socketpair():
        end.close()


UNLOCKED = f"""
import os, resource
from enclave.protection import Protection, Protector, before_secrets
lock = before_secrets()[Protection.MEMORY_LOCKED]
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
{NOBODY}
protector = Protector(required=%s)
protector.apply({{Protection.MEMORY_LOCKED: lock}})
print(protector.granted())
"""


@pytest.mark.parametrize("required", [False, True])
def test_what_the_kernel_refuses_is_reported_and_in_production_fatal(required: bool) -> None:
    command = [sys.executable, "-B", "-c", UNLOCKED % required]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if required:
        assert "ProtectionError: the kernel refused memory_locked" in ended.stderr
        assert ended.returncode == 1
    else:
        assert ended.stdout.strip() == "{'memory_locked': 'refused'}"


def test_a_dead_supervisor_leaves_no_part_behind(own_pair: Pair) -> None:
    parts = [own_pair.process(part) for part in PARTS]
    own_pair.enclave.kill()
    own_pair.enclave.wait(10)

    wait_until(lambda: not any("enclave" in " ".join(arguments(part)) for part in parts), "the parts end")
