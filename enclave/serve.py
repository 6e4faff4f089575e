# SPDX-License-Identifier: Apache-2.0
"""The session process: keys, sealed streams, the API. Started by the supervisor.

1. Refuse tracing, core dumps and swap, before any key exists.
2. Take over what is needed: the event loop, the socketpairs to the reporter and to the engine.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.api.routes import Api
from enclave.attester import Attester, Identity
from enclave.config import Config, Launch, configuration_digest
from enclave.ehbp_reply import BodyService
from enclave.engine.client import Engine, EngineGoneError
from enclave.events import Crashed, Part, Started, Unprotected, hide_tracebacks, log
from enclave.freshness import Batches
from enclave.front import Front
from enclave.keys import KeyRing
from enclave.link import Keys, Link
from enclave.protection import Protector, before_secrets, only_system_calls, without_files
from enclave.receipts import Receipts
from enclave.rehearsal import rehearse
from enclave.report_source import Reporter, ReporterGoneError
from enclave.rotation import Published, Rotation
from enclave.session_requests import SessionRequests

# No call that opens, connects, executes or creates.
SYSTEM_CALLS = """
    read write close poll mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn writev sched_yield
    mremap madvise getpid sendto recvfrom sendmsg recvmsg shutdown listen getsockname getpeername setsockopt
    getsockopt exit gettid futex clock_gettime clock_nanosleep exit_group epoll_wait epoll_ctl tgkill
    epoll_pwait accept4 getrandom rseq epoll_pwait2
"""
FAREWELL_SECONDS = 2.5  # for the end of answers whose engine is gone; the supervisor waits a little longer
DRAIN_SECONDS = 10.0  # for answers under way when the process is told to stop
READY = b"1"  # what the supervisor is told


def identity(launch: Launch, receipt_key: Ed25519PrivateKey, protections: dict[str, str]) -> Identity:
    """What this enclave says of itself."""
    return Identity(
        audience=launch.config.audience,
        deployment=launch.config.deployment,
        configuration=configuration_digest(launch.config, protections),
        model=launch.manifest.digest,
        receipt_key=hashlib.sha256(receipt_key.public_key().public_bytes_raw()).digest(),
    )


def hide_failure(_loop: asyncio.AbstractEventLoop, _context: dict[str, object]) -> None:
    """What asyncio would print may hold a prompt."""
    log(Crashed(Part.SESSION))


def confine(protector: Protector, executor: ThreadPoolExecutor) -> dict[str, str]:
    """Take everything away that is not needed any more, and say what the kernel granted.

    The thread that waits for reports begins in between: it inherits the one, and is limited with the other.
    """
    protector.apply(without_files())
    executor.submit(bool).result()
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


async def serve(
    launch: Launch,
    supervisor: socket.socket,
    listener: socket.socket,
    connection: socket.socket,
    reporter: Reporter,
) -> None:
    """The session process's life from its first step on."""
    config, protector = launch.config, Protector(required=launch.config.production)
    protector.apply(before_secrets())
    reporter.open(production=config.production)  # 2
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
    rehearsed = identity(launch, receipt_key, {})
    rehearse(Attester(reporter, rehearsed, reporter.octet), Receipts(receipt_key, rehearsed, Published()))
    with ThreadPoolExecutor(max_workers=1) as executor:
        protections = confine(protector, executor)  # 3
        attested = ready.protections | ready.settings
        protections |= {f"engine {name}": answer for name, answer in attested.items()}
        protections |= {f"reporter {name}": answer for name, answer in reporter.protections.items()}  # 4
        said = identity(launch, receipt_key, protections)
        api = Api(engine, launch.manifest, ready.context_tokens)
        receipts = Receipts(receipt_key, said, Published())
        made = Attester(reporter, said, reporter.octet)
        rotation, link = await assemble(config, made, receipts, api, executor)
        server = await link.serve(listener)
        supervisor.send(READY)
        await run(rotation, link, server, stop, engine.gone)


async def assemble(
    config: Config, made: Attester, receipts: Receipts, api: Api, executor: ThreadPoolExecutor
) -> tuple[Rotation, Link]:
    """Keys, sessions and what answers, with the first keys in force."""
    # A random first epoch, so that a client of an earlier process is told that its key is unknown.
    keys = Keys(KeyRing(secrets.randbits(31), pq_only=config.pq_only))
    published = receipts.published
    bodies = BodyService(api.answer) if config.ehbp else None
    if bodies is not None:
        bodies.keys.renew(time.monotonic())
    body_keys = bodies.keys if bodies is not None else None
    rotation = Rotation(keys.ring, keys.sessions, made, published, executor, body_keys)
    await rotation.rotate()
    batches = Batches(
        lambda leaves: made.attest_leaves(published.attested, leaves),
        executor,
    )
    session_requests = SessionRequests(keys.sessions, batches, published, receipts.identity.receipt_key)
    answer = bodies.publish_inside if bodies else api.answer
    front = Front(config.audience, session_requests, answer, receipts)
    return rotation, Link(keys, published, front.answer, bodies)


async def run(
    rotation: Rotation, link: Link, server: asyncio.Server, stop: asyncio.Event, gone: asyncio.Event
) -> None:
    """Serve until told to stop, and then finish what is under way. Raises EngineGoneError."""
    gc.freeze()  # what lives for ever need not be looked at when an exchange is cleared away
    log(Started(Part.SESSION, simulated=rotation.attester.is_simulated))
    rotating = asyncio.ensure_future(rotation.run())
    await first_of(stop, gone)
    server.close()
    with suppress(TimeoutError):
        # Where the engine is gone, clients in the middle of an answer are told.
        async with asyncio.timeout(FAREWELL_SECONDS if gone.is_set() else DRAIN_SECONDS):
            await link.drain()
    rotating.cancel()
    if gone.is_set():
        raise EngineGoneError


def main(arguments: list[str]) -> int:
    """Start with descriptors of sockets: listener, supervisor, engine and reporter."""
    hide_tracebacks(Part.SESSION)
    listener, supervisor, connection, reports = (socket.socket(fileno=int(number)) for number in arguments)
    with supervisor.makefile("rb") as file:
        launch = msgspec.json.decode(file.read(), type=Launch)
    listener.setblocking(False)
    try:
        asyncio.run(serve(launch, supervisor, listener, connection, Reporter(reports)))
    except (EngineGoneError, ReporterGoneError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
