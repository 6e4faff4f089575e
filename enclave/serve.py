# SPDX-License-Identifier: Apache-2.0
"""The session process: keys, sealed streams, the API. Started by the supervisor.

1. Refuse tracing, core dumps and swap, before any key exists.
2. Open what is needed: the report source, the event loop, the engine's socketpair.
3. Let nothing else be opened, and allow only these system calls.
4. Make keys and evidence, and answer until told to stop.
"""

import asyncio
import gc
import hashlib
import secrets
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.binding import TeeOctet
from attestation.simulated.snp import SimulatedGuest
from attestation.simulated.vendor import SimulatedVendor, code_measurement
from enclave.api.routes import Api
from enclave.attester import Attester, Identity
from enclave.config import Config, Launch, configuration_digest
from enclave.engine.client import Engine, EngineGoneError
from enclave.events import (
    Crashed,
    EvidenceFailed,
    Part,
    Rotated,
    Started,
    Unprotected,
    hide_tracebacks,
    log,
)
from enclave.keys import KeyRing
from enclave.link import Link, Published
from enclave.protection import Protector, before_secrets, only_system_calls, without_files
from enclave.rehearsal import rehearse

# No call that opens, connects, executes or creates.
SYSTEM_CALLS = """
    read write close poll mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn writev sched_yield
    mremap madvise getpid sendto recvfrom sendmsg recvmsg shutdown listen getsockname getpeername setsockopt
    getsockopt exit gettid futex clock_gettime clock_nanosleep exit_group epoll_wait epoll_ctl tgkill
    epoll_pwait accept4 getrandom rseq epoll_pwait2
"""
ROTATION_CHECK_SECONDS = 1.0
EVIDENCE_RETRY_SECONDS = 5.0
FAREWELL_SECONDS = 0.5


@dataclass(slots=True)
class Rotation:
    """Keeps keys and their evidence fresh."""

    ring: KeyRing
    attester: Attester
    published: Published

    def rotate(self) -> bool:
        """Make new keys, and put them in force once there is evidence for them."""
        epoch = self.ring.make_epoch(time.monotonic())
        try:
            document = self.attester.evidence(epoch, int(time.time()))
        except OSError:
            log(EvidenceFailed(epoch.number))
            return False
        self.ring.install(epoch, time.monotonic())
        self.published.key_list, self.published.evidence = epoch.key_list, document
        log(Rotated(epoch.number))
        return True

    async def run(self) -> None:
        """Rotate when it is due; without evidence the old keys go on until they expire."""
        while True:
            await asyncio.sleep(ROTATION_CHECK_SECONDS)
            if self.ring.needs_rotation(time.monotonic()) and not self.rotate():
                await asyncio.sleep(EVIDENCE_RETRY_SECONDS)
            if not self.ring.is_alive(time.monotonic()):
                self.published.key_list = self.published.evidence = b""


def power_on(config: Config) -> SimulatedGuest:
    """The report source of this machine."""
    measurement = code_measurement(Path(__file__).resolve().parent.parent)
    return SimulatedVendor.open(Path(config.tee.folder)).power_on(measurement, now=int(time.time()))


def attester(
    launch: Launch, guest: SimulatedGuest, receipt_key: Ed25519PrivateKey, protections: dict[str, str]
) -> Attester:
    """What makes evidence for keys, with what this enclave says of itself."""
    identity = Identity(
        audience=launch.config.audience,
        deployment=launch.config.deployment,
        configuration=configuration_digest(launch.config, protections),
        model=launch.manifest.digest,
        receipt_key=hashlib.sha256(receipt_key.public_key().public_bytes_raw()).digest(),
    )
    return Attester(guest, identity, TeeOctet.SIMULATED)


def hide_failure(_loop: asyncio.AbstractEventLoop, _context: dict[str, object]) -> None:
    """What asyncio would print may hold a prompt."""
    log(Crashed(Part.SESSION))


def confine(protector: Protector) -> dict[str, str]:
    """Take everything away that is not needed any more, and say what the kernel granted."""
    protector.apply(without_files())
    protector.apply(only_system_calls(SYSTEM_CALLS))
    for protection, number in protector.refused.items():
        log(Unprotected(Part.SESSION, protection, number))
    return {f"session {name}": answer for name, answer in protector.granted().items()}


async def first_of(*events: asyncio.Event) -> None:
    """Wait for any of these."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def serve(launch: Launch, listener: socket.socket, connection: socket.socket) -> None:
    """The session process's life from its second step on."""
    config, protector = launch.config, Protector(required=launch.config.production)
    protector.apply(before_secrets())
    guest = power_on(config)  # 2
    reader, writer = await asyncio.open_connection(sock=connection)
    engine = Engine(reader, writer)
    ready = await engine.ready()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(hide_failure)
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, stop.set)

    # The receipt key lives and dies with this process.
    receipt_key = Ed25519PrivateKey.generate()
    rehearse(attester(launch, guest, receipt_key, {}))
    protections = confine(protector)  # 3
    attested = ready.protections | ready.settings
    protections |= {f"engine {name}": answer for name, answer in attested.items()}  # 4
    # A random first epoch, so that a client of an earlier process is told that its key is unknown.
    rotation = Rotation(
        KeyRing(secrets.randbits(31)), attester(launch, guest, receipt_key, protections), Published()
    )
    rotation.rotate()
    api = Api(engine, launch.manifest, ready.context_tokens)
    server = await Link(rotation.ring, rotation.published, api.answer).serve(listener)
    gc.freeze()  # what lives for ever need not be looked at when an exchange is cleared away
    log(Started(Part.SESSION, simulated=True))
    rotating = asyncio.ensure_future(rotation.run())
    await first_of(stop, engine.gone)
    rotating.cancel()
    server.close()
    if engine.gone.is_set():
        await asyncio.sleep(FAREWELL_SECONDS)  # clients in the middle of an answer are told
        raise EngineGoneError


def main(arguments: list[str]) -> int:
    """Start with descriptors of the launch document, the listener, and the engine's socket."""
    hide_tracebacks(Part.SESSION)
    launch_descriptor, listener_descriptor, engine_descriptor = (int(argument) for argument in arguments)
    with open(launch_descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        launch = msgspec.json.decode(file.read(), type=Launch)
    listener, connection = socket.socket(fileno=listener_descriptor), socket.socket(fileno=engine_descriptor)
    listener.setblocking(False)
    try:
        asyncio.run(serve(launch, listener, connection))
    except EngineGoneError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
