# SPDX-License-Identifier: Apache-2.0
"""What the kernel is asked to forbid, before a process of the enclave holds a secret (architecture.md 5).

Each protection is one call that either holds from then on or raises OSError. Landlock and seccomp have no
module in Python's library; both are a few system calls, made here directly.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Callable, Mapping
from enum import StrEnum, auto
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
SYS_SECCOMP, SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = (
    317,
    444,
    445,
    446,
)

# Rights that Landlock handles, by the interface version that brought them (Linux, landlock.h).
LANDLOCK_FILE_RIGHTS = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
LANDLOCK_NETWORK_RIGHTS = ((4, 0b11),)
LANDLOCK_SCOPES = ((6, 0b11),)
# What a rule can give back: writing and reading a file, and using a device; making and removing folders.
LANDLOCK_OF_FILE, LANDLOCK_OF_FOLDER = 1 << 1 | 1 << 2 | 1 << 15, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 7
LANDLOCK_RULE_PATH_BENEATH = 1

# Numbers of x86-64 (Linux, syscall_64.tbl).
SYSTEM_CALLS = {
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "poll": 7,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "writev": 20,
    "access": 21,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "getpid": 39,
    "socket": 41,
    "connect": 42,
    "sendto": 44,
    "recvfrom": 45,
    "sendmsg": 46,
    "recvmsg": 47,
    "shutdown": 48,
    "listen": 50,
    "getsockname": 51,
    "getpeername": 52,
    "setsockopt": 54,
    "getsockopt": 55,
    "exit": 60,
    "fcntl": 72,
    "flock": 73,
    "mkdir": 83,
    "rmdir": 84,
    "gettid": 186,
    "futex": 202,
    "sched_getaffinity": 204,
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "epoll_wait": 232,
    "epoll_ctl": 233,
    "tgkill": 234,
    "openat": 257,
    "newfstatat": 262,
    "faccessat": 269,
    "epoll_pwait": 281,
    "accept4": 288,
    "getrandom": 318,
    "rseq": 334,
    "epoll_pwait2": 441,
}

_libc = ctypes.CDLL(None, use_errno=True)


class Protection(StrEnum):
    """One thing that the kernel is asked to guarantee."""

    DIES_WITH_PARENT = auto()
    NO_CORE_DUMP = auto()
    NO_TRACING = auto()
    MEMORY_LOCKED = auto()
    NO_NEW_PRIVILEGES = auto()
    NO_FILES = auto()
    FEW_SYSTEM_CALLS = auto()


class ProtectionError(Exception):
    """The kernel refused a protection that the configuration requires."""


class Protector:
    """Applies protections and remembers which ones the kernel refused."""

    def __init__(self, *, required: bool) -> None:
        self._required = required
        self._asked: list[Protection] = []
        self.refused: dict[Protection, int] = {}

    def apply(self, protections: Mapping[Protection, Callable[[], None]]) -> None:
        """Apply each in turn.

        Raises ProtectionError where one is refused and protections are required.
        """
        for protection, ask in protections.items():
            self._asked.append(protection)
            try:
                ask()
            except OSError as error:
                self.refused[protection] = error.errno or 0
                if self._required:
                    raise ProtectionError(
                        f"the kernel refused {protection.value}: {error.strerror}"
                    ) from None

    def granted(self) -> dict[str, str]:
        """For each protection that was asked for, whether the kernel granted it."""
        return {asked.value: "refused" if asked in self.refused else "granted" for asked in self._asked}


def die_with(parent: int) -> None:
    """Between fork and exec: end when the parent ends, also where it has ended before this was asked."""
    _die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def before_secrets() -> dict[Protection, Callable[[], None]]:
    """What must hold before a secret exists: no tracing, no core dump, no swap, no life after the parent."""
    return {
        Protection.DIES_WITH_PARENT: _die_with_parent,
        Protection.NO_CORE_DUMP: _forbid_core_dumps,
        Protection.NO_TRACING: lambda: _prctl(PR_SET_DUMPABLE, 0),
        Protection.MEMORY_LOCKED: _lock_memory,
        Protection.NO_NEW_PRIVILEGES: lambda: _prctl(PR_SET_NO_NEW_PRIVS, 1),
    }


def without_files(*but: Path) -> dict[Protection, Callable[[], None]]:
    """What holds once everything is open: nothing else can be opened, but what is named and below it.

    Threads started later inherit it.
    """
    return {Protection.NO_FILES: lambda: _forbid_files(but)}


def only_system_calls(names: str, *device_requests: int) -> dict[Protection, Callable[[], None]]:
    """What holds once every thread runs: no system call but these, for all of them.

    Of ioctl, what makes a socket non-blocking and the requests named here.
    """
    allowed = tuple(SYSTEM_CALLS[name] for name in names.split())
    return {Protection.FEW_SYSTEM_CALLS: lambda: _allow_only(allowed, device_requests)}


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, value, 0, 0, 0))


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _forbid_core_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _lock_memory() -> None:
    """Keep every page of this process, now and later, out of swap."""
    _check(_libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))


def _rights(table: tuple[tuple[int, int], ...], version: int) -> int:
    return sum(bits for since, bits in table if since <= version)


def _forbid_files(but: tuple[Path, ...]) -> None:
    """Landlock, with a rule for each exception: no files, no TCP port reached, no stranger signalled."""
    version = _libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, 1)
    _check(version)
    tables = (LANDLOCK_FILE_RIGHTS, LANDLOCK_NETWORK_RIGHTS, LANDLOCK_SCOPES)
    attributes = b"".join(struct.pack("=Q", _rights(table, version)) for table in tables)
    ruleset = _libc.syscall(SYS_LANDLOCK_CREATE_RULESET, attributes, _attributes_size(version), 0)
    _check(ruleset)
    try:
        for path in but:
            _permit(ruleset, path, _rights(LANDLOCK_FILE_RIGHTS, version))
        _check(_libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _permit(ruleset: int, path: Path, handled: int) -> None:
    """Except a device, or the files and folders below a folder."""
    rights = (LANDLOCK_OF_FOLDER if path.is_dir() else LANDLOCK_OF_FILE) & handled
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, descriptor)
        _check(_libc.syscall(SYS_LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def _attributes_size(version: int) -> int:
    """How much of the attributes this kernel knows: one field for files, then network, then scopes."""
    return 24 if version >= 6 else 16 if version >= 4 else 8


# Classic BPF for seccomp: {code u16, jump if true u8, jump if false u8, constant u32}.
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_SECOND_ARGUMENT = 0, 4, 24
_ARCHITECTURE_X86_64 = 0xC000003E
_ACTION_KILL, _ACTION_PERMISSION_ERROR, _ACTION_ALLOW = 0x80000000, 0x00050001, 0x7FFF0000
_SET_FILTER, _ALL_THREADS = 1, 1
SYS_IOCTL, FIONBIO = 16, 0x5421


def _instruction(code: int, constant: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, constant)


def filter_program(allowed: tuple[int, ...], device_requests: tuple[int, ...] = ()) -> bytes:
    """A seccomp program that allows these system calls, and of ioctl what makes a socket non-blocking.

    `device_requests` are further requests of ioctl.

    Any other call fails with EPERM; a call made in another processor mode ends the process.
    """
    program = [
        _instruction(_LOAD_WORD, _OFFSET_ARCHITECTURE),
        _instruction(_JUMP_IF_EQUAL, _ARCHITECTURE_X86_64, if_true=1),
        _instruction(_RETURN, _ACTION_KILL),
        _instruction(_LOAD_WORD, _OFFSET_NUMBER),
    ]
    for number in allowed:
        program += [_instruction(_JUMP_IF_EQUAL, number, if_false=1), _instruction(_RETURN, _ACTION_ALLOW)]
    program += [
        _instruction(_JUMP_IF_EQUAL, SYS_IOCTL, if_true=1),
        _instruction(_RETURN, _ACTION_PERMISSION_ERROR),
        _instruction(_LOAD_WORD, _OFFSET_SECOND_ARGUMENT),
    ]
    for request in (FIONBIO, *device_requests):
        program += [_instruction(_JUMP_IF_EQUAL, request, if_false=1), _instruction(_RETURN, _ACTION_ALLOW)]
    program.append(_instruction(_RETURN, _ACTION_PERMISSION_ERROR))
    return b"".join(program)


def _allow_only(allowed: tuple[int, ...], device_requests: tuple[int, ...]) -> None:
    if platform.machine() != "x86_64":
        raise OSError(38, "the list of system calls is for x86-64")
    program = filter_program(allowed, device_requests)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    result = _libc.syscall(SYS_SECCOMP, _SET_FILTER, _ALL_THREADS, header)
    _check(-1 if result else 0)  # a positive result names a thread that could not follow
