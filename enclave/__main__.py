# SPDX-License-Identifier: Apache-2.0
"""The supervisor: `python -P -m enclave --config FILE`. It holds no secret.

1. Read the configuration, empty the environment.
2. Read the weights into sealed memory while hashing them.
3. Start the engine process, the reporter process and the session process, which has a socketpair to each.
4. When one ends, end all and start all again, with new keys.
"""

import argparse
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

import msgspec

from enclave.config import Config, ConfigError, Launch, read_config
from enclave.config import Engine as EngineConfig
from enclave.engine import measure
from enclave.events import Part, Stopped, log
from enclave.listener import listening
from enclave.weights import WeightsError, seal_weights
from models.manifest import Manifest, ManifestError, find_manifest, parse_manifest

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
REPORTER = ("enclave.reporter",)
CANNOT_START = 2
GRACE_SECONDS = 3.0
DRAIN_SECONDS = 11.0  # a little longer than the session process takes at most
QUICK_SECONDS, MOST_QUICK_ENDS = 10.0, 3
# Of the memory that is there when the engine starts, keys and values may take this share.
MEMORY_SHARE = 0.5
MOST_SLOTS, SLOTS_PER_CORE = 32, 4

EPILOG = """\
examples:
  python -P -m enclave --config /etc/sottovoce/enclave.toml

exit codes: 0 stopped; 1 its parts keep failing; 2 a configuration that cannot be run
"""


class Stop(Exception):  # noqa: N818 - a wish of the operator, not a fault
    """The supervisor was told to end."""


def main(reporter: tuple[str, ...] = REPORTER) -> int:
    """Run an enclave until told to stop; 2 for a bad configuration, 1 when its parts keep failing.

    `reporter` is the module of the reporter process, with its first arguments. No setting chooses it.
    """
    arguments = parser().parse_args()
    os.environ.clear()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _told_to_stop)
    try:
        check_library()
        config = read_config(arguments.config)  # 1
        manifest = read_manifest(config)
        weights = seal_weights(Path(config.model.weights), manifest)  # 2
        with listening(config.link) as listener:
            return supervise(Launch(config, manifest), weights, listener, reporter)
    except (ConfigError, ManifestError, WeightsError, OSError, OverflowError) as error:
        sys.stderr.write(f"the enclave does not start: {error}\n")  # no secret exists yet
        return CANNOT_START
    except Stop:
        return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -P -m enclave",
        description="Run one enclave.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="TOML file; docs/operations.md has one"
    )
    return options


def check_library() -> None:
    """Raise ConfigError where nothing could run a model: no extra can bring the library that was checked."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise ConfigError("the inference library is not installed; docs/install.md says how to build it")


def read_manifest(config: Config) -> Manifest:
    """The manifest that the configuration names. Raises ManifestError and OSError."""
    if config.model.manifest is not None:
        return parse_manifest(Path(config.model.manifest).read_text(encoding="utf-8"))
    return find_manifest(config.model.name or "")


def supervise(launch: Launch, weights: int, listener: socket.socket, reporter: tuple[str, ...]) -> int:
    """Keep all processes running; give up when they end again and again at once, or cannot start."""
    quick_ends = 0
    while quick_ends < MOST_QUICK_ENDS:
        started = time.monotonic()
        with ExitStack() as stack:
            children = start_children(launch, weights, listener, reporter)
            for child in children.values():
                stack.callback(end, child)
            try:
                wait_for_any(children)
            except Stop:
                drain(children[Part.SESSION])
                for child in children.values():
                    child.terminate()
                raise
        if children[Part.REPORTER].returncode == CANNOT_START:
            return CANNOT_START  # it said why
        quick_ends = quick_ends + 1 if time.monotonic() - started < QUICK_SECONDS else 0
    return 1


def start_children(
    launch: Launch, weights: int, listener: socket.socket, reporter: tuple[str, ...]
) -> dict[Part, subprocess.Popen[bytes]]:
    """Start the engine process, the reporter process and the session process."""
    config = launch.config
    engine_end, session_end = socket.socketpair()
    reporter_end, asking_end = socket.socketpair()
    reading, writing = os.pipe()
    with engine_end, session_end, reporter_end, asking_end:
        engine_command = [
            weights,
            engine_end.fileno(),
            *engine_options(config.engine, launch.manifest, production=config.production),
        ]
        engine = start("enclave.engine", engine_command, (weights, engine_end.fileno()))
        tee = msgspec.json.encode(config.tee).decode()
        reporting = start(
            reporter[0],
            [*reporter[1:], reporter_end.fileno(), int(config.production), tee],
            (reporter_end.fileno(),),
        )
        session_command = [reading, listener.fileno(), session_end.fileno(), asking_end.fileno()]
        session = start("enclave.serve", session_command, tuple(session_command))
    os.close(reading)
    with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        pipe.write(msgspec.json.encode(launch))
    return {Part.ENGINE: engine, Part.REPORTER: reporting, Part.SESSION: session}


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
        command, pass_fds=descriptors, env=CHILD_ENVIRONMENT, stdin=subprocess.DEVNULL, cwd="/"
    )


def wait_for_any(children: dict[Part, subprocess.Popen[bytes]]) -> None:
    """Wait until one of them ends."""
    ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    for part, child in children.items():
        if child.pid == ended:
            child.returncode = code
            log(Stopped(part, code))


def drain(session: subprocess.Popen[bytes]) -> None:
    """Let the session process finish the answers under way, for which it needs the others."""
    session.terminate()
    with suppress(subprocess.TimeoutExpired):
        session.wait(DRAIN_SECONDS)


def end(child: subprocess.Popen[bytes]) -> None:
    """Let a process finish what it is telling its clients, then end it."""
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        child.send_signal(number)  # 0 sends nothing
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def _told_to_stop(_number: int, _frame: FrameType | None) -> None:
    raise Stop


if __name__ == "__main__":
    sys.exit(main())
