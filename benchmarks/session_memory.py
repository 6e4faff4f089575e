# SPDX-License-Identifier: Apache-2.0
"""The enclave's memory under sessions that are opened and dropped, and under garbage, beside that at rest.

A real enclave process. It keeps at most 1,024 sessions, so its memory grows until there are so many, and the
first round fills that room. What counts is what it has after all the others.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks import _report as report
from deploy.local import Place, enclave, free_port, vendor_folder
from wire import bhttp, frames, ohttp
from wire.session import SESSION_PATH, SessionRequest, decode_response

GATEWAY = "/.well-known/ohttp-gateway"
KEYS, AT_ONCE = 4, 8
SESSIONS_IN_A_ROUND, GARBAGE_IN_A_ROUND = 1100, 1100
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent to an enclave's socket."""

    socket: Path
    authority: str

    async def exchange(self, method: str, path: str, body: bytes) -> bytes:
        """One exchange; the body of its answer."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        content_type = ohttp.CHUNKED_REQUEST if body else ""
        writer.write(frames.encode_request_head(frames.RequestHead(method, path, content_type)) + body)
        writer.write_eof()
        received = await reader.read()
        writer.close()
        head = frames.AnswerHeadReader()
        head.receive(received)
        return head.rest

    async def key(self) -> ohttp.KeyConfiguration:
        """The hybrid key of the epoch in force."""
        return ohttp.decode_key_list(await self.exchange("GET", GATEWAY, b""))[0]

    async def open_session(self, key: ohttp.KeyConfiguration) -> str:
        """Open a session and drop it; where its requests would go."""
        content = SessionRequest(os.urandom(32), fresh=False, keys=KEYS).encode()
        sealer = ohttp.RequestSealer(key, key.suites[0])
        scheme, _, authority = self.authority.partition("://")
        head = bhttp.RequestHead("POST", scheme, authority, SESSION_PATH, ())
        message = bhttp.encode_request(head, content, padded_size=1024)
        body = sealer.seal(message, last=False) + sealer.seal(b"", last=True)
        opener, decoder = sealer.response_opener(), bhttp.ResponseDecoder()
        chunks = opener.receive(await self.exchange("POST", GATEWAY, body)) + opener.end()
        events = [event for chunk in chunks for event in decoder.receive(chunk)]
        answer = b"".join(event.data for event in events if isinstance(event, bhttp.Content))
        return decode_response(answer).session_id.path

    async def round(self, sessions: int, garbage: int) -> None:
        """So many sessions, each dropped at once, and as much garbage, to the epoch's keys and to theirs."""
        key = await self.key()
        paths = await _in_parallel(sessions, lambda _: self.open_session(key))
        noise = bytes([key.key_id]) + b"\x64\x7a\0\1\0\2" + os.urandom(2000)
        await _in_parallel(
            garbage,
            lambda number: self.exchange(
                "POST",
                paths[number % sessions] if number % 2 else GATEWAY,
                (b"\1" + noise[1:]) if number % 2 else noise,
            ),
        )


Result = TypeVar("Result")


async def _in_parallel(count: int, step: Callable[[int], Awaitable[Result]]) -> list[Result]:
    """The results of so many steps, of which a few are under way at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Result:
        async with room:
            return await step(number)

    return list(await asyncio.gather(*(one(number) for number in range(count))))


def resident_bytes(process_id: int) -> int:
    """The memory that a process has now."""
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


def session_process(supervisor: int) -> int:
    """The process with the keys, among the children of the supervisor."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii").split()
    commands = {child: Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8") for child in children}
    (found,) = [int(child) for child, command in commands.items() if "enclave.serve" in command]
    return found


def main() -> int:
    """Measure, and print."""
    options = report.arguments(__doc__ or "", rounds=10)
    sizes: list[int] = []
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name:
        place = Place(Path(name), vendor_folder(), free_port(), "http://localhost:1")
        with enclave(place) as supervisor:
            load, process = Load(place.enclave_socket, place.audience), session_process(supervisor.pid)
            sizes.append(resident_bytes(process))
            for _ in range(options.rounds):
                asyncio.run(load.round(SESSIONS_IN_A_ROUND, GARBAGE_IN_A_ROUND))
                sizes.append(resident_bytes(process))
    megabytes = [size / MEGABYTE for size in sizes]
    rows = [
        [str(number * SESSIONS_IN_A_ROUND), str(number * GARBAGE_IN_A_ROUND), f"{size:.1f}"]
        for number, size in enumerate(megabytes)
    ]
    report.show("memory of the session process", ["sessions opened", "garbage", "MiB"], rows)
    if options.json:
        report.show_json(
            {
                "benchmark": "session_memory",
                "sessions": options.rounds * SESSIONS_IN_A_ROUND,
                "garbage": options.rounds * GARBAGE_IN_A_ROUND,
                "rest_mib": round(megabytes[0], 2),
                "full_mib": round(megabytes[1], 2),
                "end_mib": round(megabytes[-1], 2),
                "growth_mib": round(megabytes[-1] - megabytes[1], 2),
            }
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
