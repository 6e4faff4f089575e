# SPDX-License-Identifier: Apache-2.0
"""Keeps the processes of an enclave running: when one ends, all end, and all start again with new keys.

Where that happens again and again, each start waits longer than the one before.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import msgspec

from enclave.config import Engine as EngineConfig
from enclave.config import Launch
from enclave.engine import measure
from enclave.events import GaveUp, Part, Paused, Stopped, log
from enclave.protection import die_with
from models.manifest import Manifest

# All memory comes from malloc, and what is freed is filled: text does not outlive its request (engine.md
# 4). Numpy's own library of linear algebra gets one thread; llama.cpp's threads need the cores.
CHILD_ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",  # cached chunks are not filled
    "LC_ALL": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "",
    "PYTHONMALLOC": "malloc",
}
# Without the working directory or the user's packages on the path, and without writing compiled files.
PYTHON = (sys.executable, "-P", "-s", "-B", "-W", "ignore", "-m")
GAVE_UP, CANNOT_START = 1, 2
GRACE_SECONDS = 3.0
DRAIN_SECONDS = 11.0  # a little longer than the session process takes at most
# An end this soon after the start is a quick one. After some in a row each start waits longer than the last.
QUICK_SECONDS, QUICK_ENDS_WITHOUT_PAUSE = 10.0, 2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
MOST_FAILED_STARTS = 3  # of an enclave that never served: no pause mends a machine or a configuration
# Of the memory that is there when the engine starts, keys and values may take this share.
MEMORY_SHARE = 0.5
MOST_SLOTS, SLOTS_PER_CORE = 32, 4


class Stop(Exception):  # noqa: N818 - a wish of the operator, not a fault
    """The supervisor was told to end."""


def supervise(launch: Launch, weights: int, listener: socket.socket, reporter: tuple[str, ...]) -> int:
    """Keep all processes running. Give up only on an enclave that never came to serve, and say so."""
    has_served, quick_ends = False, 0
    while True:
        began = time.monotonic()
        served, reporter_code = run(launch, weights, listener, reporter)
        has_served = has_served or served
        if reporter_code == CANNOT_START and not has_served:
            return CANNOT_START  # it said why
        quick = not served or time.monotonic() - began < QUICK_SECONDS
        quick_ends = quick_ends + 1 if quick else 0
        if quick_ends == MOST_FAILED_STARTS and not has_served:
            log(GaveUp(quick_ends))
            return GAVE_UP
        if seconds := pause_seconds(quick_ends):
            log(Paused(quick_ends, round(seconds * 1000)))
            time.sleep(seconds)


def pause_seconds(quick_ends: int) -> float:
    """How long to wait after so many quick ends in a row: twice as long each time, up to a limit."""
    counted = min(quick_ends - QUICK_ENDS_WITHOUT_PAUSE, 16)  # enough for the limit, and no overflow
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (counted - 1), LONGEST_PAUSE_SECONDS) if counted > 0 else 0.0


def run(
    launch: Launch, weights: int, listener: socket.socket, reporter: tuple[str, ...]
) -> tuple[bool, int | None]:
    """Run all processes until one ends: whether requests were served, and the reporter's exit code."""
    children: dict[Part, subprocess.Popen[bytes]] = {}
    own_end, session_end = socket.socketpair()
    with own_end:
        try:
            with session_end:
                start_children(children, launch, weights, (listener, session_end), reporter)
            hand_over(own_end, launch)
            wait_for_any(children)
        except Stop:
            drain(children)
            raise
        finally:
            for child in reversed(children.values()):
                end(child)
        return has_said_ready(own_end), children[Part.REPORTER].returncode


def start_children(
    children: dict[Part, subprocess.Popen[bytes]],
    launch: Launch,
    weights: int,
    session_sockets: tuple[socket.socket, ...],
    reporter: tuple[str, ...],
) -> None:
    """Start the engine process, the reporter process and the session process, one after the other."""
    config = launch.config
    engine_end, asking_engine = socket.socketpair()
    reporter_end, asking_reporter = socket.socketpair()
    with engine_end, asking_engine, reporter_end, asking_reporter:
        engine_command = [
            weights,
            engine_end.fileno(),
            *engine_options(config.engine, launch.manifest, production=config.production),
        ]
        children[Part.ENGINE] = start("enclave.engine", engine_command, (weights, engine_end.fileno()))
        tee = msgspec.json.encode(config.tee).decode()
        children[Part.REPORTER] = start(
            reporter[0],
            [*reporter[1:], reporter_end.fileno(), int(config.production), tee],
            (reporter_end.fileno(),),
        )
        sockets = (*session_sockets, asking_engine, asking_reporter)
        session_command = tuple(each.fileno() for each in sockets)
        children[Part.SESSION] = start("enclave.serve", session_command, session_command)


def hand_over(own_end: socket.socket, launch: Launch) -> None:
    """Give the session process its configuration. Where it has ended already, waiting for it will tell."""
    with suppress(OSError):
        own_end.sendall(msgspec.json.encode(launch))
        own_end.shutdown(socket.SHUT_WR)


def has_said_ready(own_end: socket.socket) -> bool:
    """Whether the session process, which has ended, said that it accepts requests."""
    try:
        return bool(own_end.recv(1))
    except OSError:
        return False  # it ended before it read its configuration


def engine_options(engine: EngineConfig, manifest: Manifest, *, production: bool) -> list[int | str]:
    """The configuration of the engine process, with what was measured where it says "auto"."""
    cores = measure.cores()
    # One core is left for what feeds the model; with more threads than free cores it would collapse.
    threads = max(1, cores - 1) if engine.threads == "auto" else engine.threads
    most = max(1, int(measure.memory_bytes() * MEMORY_SHARE))
    slots = min(MOST_SLOTS, SLOTS_PER_CORE * (cores + 1)) if engine.slots == "auto" else engine.slots
    return [
        int(production),
        engine.context_tokens,
        threads,
        slots,
        engine.waiting_requests,
        most,
        engine.session_memory_mib << 20,
        manifest.digest.hex(),
    ]


def start(
    module: str, arguments: Sequence[int | str], descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    """Start one of our own modules with nothing but these descriptors and a fixed environment."""
    command = [*PYTHON, module, *map(str, arguments)]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        pass_fds=descriptors,
        env=CHILD_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        cwd="/",
        preexec_fn=partial(die_with, os.getpid()),  # noqa: PLW1509 - there is one thread
    )


def wait_for_any(children: dict[Part, subprocess.Popen[bytes]]) -> None:
    """Wait until one of them ends."""
    ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    for part, child in children.items():
        if child.pid == ended:
            child.returncode = code
            log(Stopped(part, code))


def drain(children: dict[Part, subprocess.Popen[bytes]]) -> None:
    """Let the session process finish the answers under way, for which it needs the others; then end all."""
    if session := children.get(Part.SESSION):
        session.terminate()
        with suppress(subprocess.TimeoutExpired):
            session.wait(DRAIN_SECONDS)
    for child in children.values():
        child.terminate()


def end(child: subprocess.Popen[bytes]) -> None:
    """Let a process finish what it is telling its clients, then end it."""
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        child.send_signal(number)  # 0 sends nothing
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
