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

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
SYS_SECCOMP, SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_RESTRICT_SELF = 317, 444, 446

# Rights that Landlock handles, by the interface version that brought them (Linux, landlock.h).
LANDLOCK_FILE_RIGHTS = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
LANDLOCK_NETWORK_RIGHTS = ((4, 0b11),)
LANDLOCK_SCOPES = ((6, 0b11),)

# Numbers of x86-64 (Linux, syscall_64.tbl).
SYSTEM_CALLS = {
    "read": 0,
    "write": 1,
    "close": 3,
    "poll": 7,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "writev": 20,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "getpid": 39,
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
    "gettid": 186,
    "futex": 202,
    "sched_getaffinity": 204,
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "epoll_wait": 232,
    "epoll_ctl": 233,
    "tgkill": 234,
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


def before_secrets() -> dict[Protection, Callable[[], None]]:
    """What must hold before a secret exists: no tracing, no core dump, no swap, no life after the parent."""
    return {
        Protection.DIES_WITH_PARENT: _die_with_parent,
        Protection.NO_CORE_DUMP: _forbid_core_dumps,
        Protection.NO_TRACING: lambda: _prctl(PR_SET_DUMPABLE, 0),
        Protection.MEMORY_LOCKED: _lock_memory,
        Protection.NO_NEW_PRIVILEGES: lambda: _prctl(PR_SET_NO_NEW_PRIVS, 1),
    }


def without_files() -> dict[Protection, Callable[[], None]]:
    """What holds once everything is open: nothing else can be opened. Threads started later inherit it."""
    return {Protection.NO_FILES: _forbid_files}


def only_system_calls(names: str) -> dict[Protection, Callable[[], None]]:
    """What holds once every thread runs: no system call but these, for all of them."""
    allowed = tuple(SYSTEM_CALLS[name] for name in names.split())
    return {Protection.FEW_SYSTEM_CALLS: lambda: _allow_only(allowed)}


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


def _forbid_files() -> None:
    """Landlock without any rule: nothing can be opened, no TCP port reached, no stranger signalled."""
    version = _libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, 1)
    _check(version)
    tables = (LANDLOCK_FILE_RIGHTS, LANDLOCK_NETWORK_RIGHTS, LANDLOCK_SCOPES)
    attributes = b"".join(struct.pack("=Q", _rights(table, version)) for table in tables)
    ruleset = _libc.syscall(SYS_LANDLOCK_CREATE_RULESET, attributes, _attributes_size(version), 0)
    _check(ruleset)
    try:
        _check(_libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


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


def filter_program(allowed: tuple[int, ...]) -> bytes:
    """A seccomp program that allows these system calls, and of ioctl only what makes a socket non-blocking.

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
        _instruction(_JUMP_IF_EQUAL, SYS_IOCTL, if_false=3),
        _instruction(_LOAD_WORD, _OFFSET_SECOND_ARGUMENT),
        _instruction(_JUMP_IF_EQUAL, FIONBIO, if_false=1),
        _instruction(_RETURN, _ACTION_ALLOW),
        _instruction(_RETURN, _ACTION_PERMISSION_ERROR),
    ]
    return b"".join(program)


def _allow_only(allowed: tuple[int, ...]) -> None:
    if platform.machine() != "x86_64":
        raise OSError(38, "the list of system calls is for x86-64")
    program = filter_program(allowed)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    result = _libc.syscall(SYS_SECCOMP, _SET_FILTER, _ALL_THREADS, header)
    _check(-1 if result else 0)  # a positive result names a thread that could not follow
