# SPDX-License-Identifier: Apache-2.0
"""What the session protocol costs: CPU of the enclave for each step, and answers beside plain HTTP.

The CPU figures are of the enclave's own code in this process, on one core: everything between bytes from the
link and bytes to it, without sockets and without the hardware's report. The ratio is of the same engine,
model and requests through client, host and enclave, and over plain HTTP, in alternation.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from attestation.binding import TeeOctet
from attestation.simulated.vendor import SimulatedVendor, code_measurement
from benchmarks import _report as report
from deploy.local import DEFAULT_MODEL, Place, enclave, free_port, host, is_listening, vendor_folder
from enclave.attester import Attested, Attester, Identity
from enclave.freshness import filled
from enclave.keys import KeyRing, KeySource
from enclave.report_protocol import Signed
from enclave.session import AnswerSealer, Opened, Request, RequestReceiver
from enclave.sessions import Sessions, make_session
from models.fetch import fetch
from models.manifest import find_manifest
from sottovoce.chat import Turn, chat_request, deltas
from sottovoce.session import Content, Event, Head
from sottovoce.transport import Connection
from sottovoce.trust import choose_policy
from wire import bhttp, hpke, merkle, ohttp, padding
from wire.session import (
    MAX_SESSION_REQUESTS,
    MAX_TTL_SECONDS,
    SESSION_PATH,
    SessionRequest,
    SessionResponse,
    decode_request,
    decode_session_keys,
)
from wire.shaping import FrameShaper, Off

TOKENS, CONTEXT_TOKENS, THREADS, PARALLEL = 48, 1024, 1, 8
ENGINE = f"[engine]\ncontext_tokens = {CONTEXT_TOKENS}\nthreads = {THREADS}\nwaiting_requests = 32\n"
PROMPT = "Describe the sea to somebody who has never seen it, at length. This is question number {number}."
BODY = chat_request(DEFAULT_MODEL, [Turn("user", PROMPT)])
EVENT = b"data: " + b"x" * 142 + b"\n\n"
HEAD = bhttp.ResponseHead(200, (("content-type", "text/event-stream"),))
REPETITIONS = 300
NANOSECONDS = 1000.0
KEYS = 4


class PreparedReport:
    """A report that is there already, so that the time the hardware takes is not counted."""

    def __init__(self) -> None:
        machine = SimulatedVendor.open(vendor_folder()).power_on(
            code_measurement(Path(__file__).resolve().parent.parent), now=int(time.time())
        )
        self._signed = Signed("sev-snp", machine.evidence_report(bytes(64)), machine.chain, machine.crl)

    def signed_report(self, report_data: bytes) -> Signed:
        """The same for all data."""
        assert len(report_data) == 64
        return self._signed


class Enclave:
    """The parts of an enclave that see bytes."""

    def __init__(self) -> None:
        self.ring, self.sessions = KeyRing(1), Sessions()
        epoch = self.ring.make_epoch(0.0)
        self.ring.install(epoch, 0.0)
        identity = Identity("https://llm.example", "benchmark", bytes(32), bytes(32), bytes(32))
        self._attester = Attester(PreparedReport(), identity, TeeOctet.SIMULATED)
        self._attested: Attested = self._attester.attest(epoch, 0)
        self.hybrid, self.classical = ohttp.decode_key_list(epoch.key_list)

    def open_session(self, body: bytes) -> bytes:
        """From the bytes of a session request to those of its answer, with four keys and fresh evidence."""
        opened = receive(self.ring, body)
        assert isinstance(opened.request, Request)
        wanted = decode_request(opened.request.content)
        session = make_session(bytes(4), wanted.keys)
        leaf = merkle.leaf(wanted.nonce, session.key_list, opened.encapsulated)
        (evidence,) = self._attester.attest_leaves(self._attested, filled((leaf,)))
        self.sessions.add(session, 0.0)
        response = SessionResponse(
            session.identifier, session.key_list, MAX_TTL_SECONDS, MAX_SESSION_REQUESTS, evidence
        )
        return opened.answer.whole(bhttp.ResponseHead(201, ()), response.encode())


def receive(keys: KeySource, body: bytes) -> Opened:
    """From the bytes of a request to the request."""
    receiver = RequestReceiver(keys, ohttp.CHUNKED_REQUEST)
    receiver.receive(body, 0.0)
    return receiver.end()


def request_body(key: ohttp.KeyConfiguration, path: str, content: bytes) -> bytes:
    """A sealed request of a client."""
    head = bhttp.RequestHead("POST", "https", "llm.example", path, (("content-type", "application/json"),))
    size = padding.padded_size(len(bhttp.encode_request(head, content)))
    sealer = ohttp.RequestSealer(key, key.suites[0])
    message = bhttp.encode_request(head, content, padded_size=size)
    return sealer.seal(message, last=False) + sealer.seal(b"", last=True)


def cpu_us(step: Callable[[bytes], object], bodies: list[bytes]) -> float:
    """Median CPU time of a step, in microseconds; each body is used once."""
    times: list[int] = []
    for body in bodies:
        start = time.thread_time_ns()
        step(body)
        times.append(time.thread_time_ns() - start)
    return statistics.median(times) / NANOSECONDS


def session_open_us(inside: Enclave) -> float:
    """One session, of four keys."""
    document = SessionRequest(bytes(32), fresh=True, keys=KEYS).encode()
    bodies = [request_body(inside.hybrid, SESSION_PATH, document) for _ in range(REPETITIONS // 2)]
    return cpu_us(inside.open_session, bodies)


def request_us(inside: Enclave, key: ohttp.KeyConfiguration) -> float:
    """One request under an epoch key, to the sealed head of its answer."""
    bodies = [request_body(key, "/v1/chat/completions", BODY) for _ in range(REPETITIONS)]
    return cpu_us(lambda body: receive(inside.ring, body).answer.head(HEAD), bodies)


def session_request_us(inside: Enclave) -> float:
    """One request in a session: a new key is made for the next one, and goes with the head."""
    times: list[float] = []
    for _ in range(REPETITIONS // KEYS):
        session = make_session(bytes(4), KEYS)
        inside.sessions.add(session, 0.0)
        keys = inside.sessions.keys(session.identifier.text)
        bodies = [
            request_body(key, "/v1/chat/completions", BODY)
            for key in decode_session_keys(session.key_list, KEYS)
        ]
        times.append(cpu_us(lambda body: receive(keys, body).answer.head(HEAD), bodies))  # noqa: B023 - called before the loop goes on
    return statistics.median(times)


def answer_of(inside: Enclave, key: ohttp.KeyConfiguration) -> AnswerSealer:
    """What seals an answer that has begun."""
    answer = receive(inside.ring, request_body(key, "/v1/chat/completions", BODY)).answer
    answer.head(HEAD)
    return answer


def chunk_us(inside: Enclave, key: ohttp.KeyConfiguration) -> float:
    """One token's event of 150 bytes, sealed as it comes."""
    answer = answer_of(inside, key)
    return cpu_us(answer.content, [EVENT] * REPETITIONS)


def frame_us(inside: Enclave, key: ohttp.KeyConfiguration) -> float:
    """One frame of 512 bytes with a token's event in it."""
    answer, shaper = answer_of(inside, key), FrameShaper()

    def frame(event: bytes) -> None:
        shaper.push(event)
        answer.part(shaper.tick())

    return cpu_us(frame, [EVENT] * REPETITIONS)


def key_generation_us() -> float:
    """Making one X-Wing key pair, which each request in a session pays for the next."""
    return cpu_us(lambda _: hpke.generate(hpke.Kem.X_WING), [b""] * REPETITIONS)


@dataclass(frozen=True, slots=True)
class Sample:
    """Some answers at the same time: how many pieces of text in how long, and when the first one came."""

    pieces: int
    seconds: float
    first_seconds: float
    cpu_seconds: float

    @property
    def pieces_per_second(self) -> float:
        """Throughput of all of them."""
        return self.pieces / self.seconds


Ask = Callable[[str], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Side:
    """How to ask one of the two, and the programs it consists of, without the client."""

    ask: Ask
    programs: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """What its processes have used so far."""
        return sum(_cpu_seconds(process) for program in self.programs for process in _family(program))


def _family(process: int) -> list[int]:
    """A process and those that it started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    return [process, *(relative for child in children for relative in _family(int(child)))]


def _cpu_seconds(process: int) -> float:
    """User and system time of a process, from proc(5)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(side: Side, number: int, parallel: int) -> Sample:
    """Ask so many questions at once."""

    def one(which: int) -> tuple[int, float]:
        start, first, pieces = time.perf_counter(), 0.0, 0
        for _ in side.ask(PROMPT.format(number=number * PARALLEL + which)):
            pieces += 1
            first = first or time.perf_counter() - start
        return pieces, first

    start, cpu_before = time.perf_counter(), side.cpu_seconds()
    with ThreadPoolExecutor(parallel) as executor:
        results = list(executor.map(one, range(parallel)))
    seconds, cpu_seconds = time.perf_counter() - start, side.cpu_seconds() - cpu_before
    pieces, first = sum(pieces for pieces, _ in results), min(first for _, first in results)
    return Sample(pieces, seconds, first, cpu_seconds)


@contextmanager
def plain() -> Generator[Side]:
    """The engine over plain HTTP."""
    port, weights = free_port(), fetch(find_manifest(DEFAULT_MODEL))
    arguments = (port, weights, CONTEXT_TOKENS, THREADS)
    command = [sys.executable, "-P", "-m", "benchmarks._plain", *map(str, arguments)]
    with subprocess.Popen(command) as process, httpx.Client(trust_env=False, timeout=120) as client:
        try:
            while not is_listening(port):
                time.sleep(0.1)
            yield Side(lambda prompt: deltas(plain_events(client, port, prompt)), (process.pid,))
        finally:
            process.terminate()


def plain_events(client: httpx.Client, port: int, prompt: str) -> Iterator[Event]:
    """What a client of plain HTTP reads."""
    content = chat_request(DEFAULT_MODEL, [Turn("user", prompt)], temperature=0, max_tokens=TOKENS)
    url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"content-type": "application/json"}
    with client.stream("POST", url, content=content, headers=headers) as response:
        yield Head(response.status_code, dict(response.headers))
        for data in response.iter_raw():
            yield Content(data)


@contextmanager
def encrypted() -> Generator[Side]:
    """The engine in an enclave, behind a host, without shaping."""
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name:
        port = free_port()
        place = Place(Path(name), vendor_folder(), port, f"http://localhost:{port}")
        with enclave(place, extra=ENGINE) as supervisor, host(place) as courier:
            policy = choose_policy(place.url, file=place.policy, simulated=True)
            with Connection(place.url, policy, keys=16, shaping=Off()) as connection:

                def ask(prompt: str) -> Iterator[str]:
                    turns = [Turn("user", prompt)]
                    return connection.chat(DEFAULT_MODEL, turns, temperature=0, max_tokens=TOKENS)

                yield Side(ask, (supervisor.pid, courier.pid))


def alternate(rounds: int, parallel: int, sides: tuple[Side, Side]) -> tuple[list[Sample], list[Sample]]:
    """One round to warm up, then as many as asked for; both sides get the same questions."""
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    for number in range(rounds + 1):
        order = (0, 1) if number % 2 else (1, 0)
        for side in order:
            samples[side].append(measure(sides[side], number, parallel))
    return samples[0][1:], samples[1][1:]


def ratio(without: list[Sample], through: list[Sample]) -> float:
    """Throughput with encryption, as a part of that without; the median of the rounds."""
    return statistics.median(
        there.pieces_per_second / here.pieces_per_second for here, there in zip(without, through, strict=True)
    )


def cpu_ratio(without: list[Sample], through: list[Sample]) -> float:
    """CPU for a token without encryption, as a part of that with it: a busy machine changes this less."""
    here, there = (
        sum(sample.cpu_seconds for sample in side) / sum(sample.pieces for sample in side)
        for side in (without, through)
    )
    return here / there


def main() -> int:
    """Measure, and print."""
    options = report.arguments(__doc__ or "", rounds=5)
    inside = Enclave()
    steps = {
        "session_open_cpu_us": session_open_us(inside),
        "request_cpu_us": request_us(inside, inside.hybrid),
        "request_classical_cpu_us": request_us(inside, inside.classical),
        "request_in_session_cpu_us": session_request_us(inside),
        "next_key_cpu_us": key_generation_us(),
        "chunk_cpu_us": chunk_us(inside, inside.hybrid),
        "chunk_classical_cpu_us": chunk_us(inside, inside.classical),
        "frame_cpu_us": frame_us(inside, inside.hybrid),
    }
    report.show(
        "CPU of the enclave, median",
        ["step", "microseconds"],
        [[name.removesuffix("_cpu_us").replace("_", " "), f"{value:.1f}"] for name, value in steps.items()],
    )
    with plain() as without, encrypted() as through:
        many = alternate(options.rounds, PARALLEL, (without, through))
        single = alternate(options.rounds, 1, (without, through))
    first = [statistics.median(sample.first_seconds for sample in side) * 1000 for side in single]
    names = ("plain HTTP", "client, host, enclave; shaping off")
    rows = [
        [
            name,
            report.spread([sample.pieces_per_second for sample in side]),
            report.spread([sample.pieces_per_second for sample in alone]),
            f"{milliseconds:.1f}",
        ]
        for name, side, alone, milliseconds in zip(names, many, single, first, strict=True)
    ]
    columns = ["", f"tokens/s, {PARALLEL} at once", "tokens/s, one", "first token, ms"]
    report.show(f"{TOKENS} tokens each, {options.rounds} rounds: median (smallest to largest)", columns, rows)
    if options.json:
        figures = {name: round(value, 2) for name, value in steps.items()}
        report.show_json(
            {
                "benchmark": "session",
                **figures,
                "throughput_ratio_8": round(ratio(*many), 4),
                "cpu_ratio_8": round(cpu_ratio(*many), 4),
                "throughput_ratio_1": round(ratio(*single), 4),
                "ttft_plain_ms": round(first[0], 2),
                "ttft_encrypted_ms": round(first[1], 2),
                "model": DEFAULT_MODEL,
                "threads": THREADS,
            }
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
