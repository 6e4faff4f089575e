# SPDX-License-Identifier: Apache-2.0
"""A server on this machine that answers as AMD's KDS and Intel's PCS do, and misbehaves when a test says so.

Real HTTP on a loopback address. What it serves are octets that a test gives it, or genuine files of
`../shared/vectors`, where that folder is. Its clock for rate limits is the test's.
"""

import base64
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import quote

from typing_extensions import override

VECTORS: Final = Path(__file__).parents[3] / "shared" / "vectors"

PEM_TYPE: Final = "application/x-pem-file"
DER_TYPE: Final = "application/octet-stream"
CRL_TYPE: Final = "application/pkix-crl"
JSON_TYPE: Final = "application/json"


class World:
    """Time, patience and chance in the test's hands: sleeping moves the clock, and chance is what it says."""

    def __init__(self, moment: float) -> None:
        self.moment, self.slept, self.chance = moment, list[float](), 0.0

    def now(self) -> float:
        """The test's time."""
        return self.moment

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.slept.append(seconds)
        self.moment += seconds

    def jitter(self) -> float:
        """The test's choice."""
        return self.chance


class Mood(Enum):
    """How the server treats the next requests."""

    HONEST = auto()
    SLOW = auto()
    DRIPPING = auto()
    TRUNCATED = auto()
    OVERSIZED = auto()
    COMPRESSED = auto()
    HTML = auto()
    REDIRECTING = auto()
    CLOSING = auto()


@dataclass(frozen=True, slots=True)
class Page:
    """What one target answers."""

    content: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Vendors:
    """The state of the server. Tests read `asked` and turn everything else."""

    url: str
    now: Callable[[], float]
    released: threading.Event
    pages: dict[str, Page] = field(default_factory=dict[str, Page])
    asked: list[str] = field(default_factory=list[str])
    mood: Mood = Mood.HONEST
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list[tuple[int, dict[str, str]]])
    elsewhere: str = ""
    allowance: int = 1 << 30
    interval_seconds: float = 60.0
    retry_after: str = "1"
    hold: bool = False
    times: list[float] = field(default_factory=list[float])
    came: threading.Condition = field(default_factory=threading.Condition)

    def note(self, target: str) -> None:
        """Count a request that has come."""
        with self.came:
            self.asked.append(target)
            self.came.notify_all()

    def wait_for(self, number: int) -> None:
        """Wait until so many requests have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.asked) >= number, timeout=10)

    def is_over_limit(self) -> bool:
        """Whether this request is one too many of the interval; counts it if not."""
        now = self.now()
        self.times = [moment for moment in self.times if moment > now - self.interval_seconds]
        if len(self.times) >= self.allowance:
            return True
        self.times.append(now)
        return False

    def serve_amd(self, product: str, signing_key: str, above: tuple[bytes, ...], revocations: bytes) -> None:
        """The certificates above a leaf, and the list of revoked ones."""
        base = f"/{signing_key}/v1/{product}"
        self.pages[f"{base}/cert_chain"] = Page(b"".join(map(pem, above)), PEM_TYPE)
        self.pages[f"{base}/crl"] = Page(revocations, CRL_TYPE)

    def serve_intel(self, collateral: dict[str, str], fmspc: str, authority: str = "platform") -> None:
        """A set of collateral in the names of DCAP verifiers, for every update and its own number."""
        root = Page(bytes.fromhex(collateral["root_ca_crl"]), CRL_TYPE)
        self.pages["/IntelSGXRootCA.der"] = root
        chain = ("SGX-PCK-CRL-Issuer-Chain", quote(collateral["pck_crl_issuer_chain"]))
        lists = Page(bytes.fromhex(collateral["pck_crl"]), CRL_TYPE, (chain,))
        self.pages[f"/sgx/certification/v4/pckcrl?ca={authority}&encoding=der"] = lists
        number: int = json.loads(collateral["tcb_info"])["tcbEvaluationDataNumber"]
        for query in ("update=standard", "update=early", f"tcbEvaluationDataNumber={number}"):
            self.pages[f"/tdx/certification/v4/tcb?fmspc={fmspc}&{query}"] = signed(
                "tcbInfo",
                collateral["tcb_info"],
                collateral["tcb_info_signature"],
                ("TCB-Info-Issuer-Chain", collateral["tcb_info_issuer_chain"]),
            )
            self.pages[f"/tdx/certification/v4/qe/identity?{query}"] = signed(
                "enclaveIdentity",
                collateral["qe_identity"],
                collateral["qe_identity_signature"],
                ("SGX-Enclave-Identity-Issuer-Chain", collateral["qe_identity_issuer_chain"]),
            )


class _Handler(BaseHTTPRequestHandler):
    vendors: Vendors
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as the mood is."""
        vendors = self.vendors
        vendors.note(self.path)
        self.close_connection = True
        if vendors.hold:
            vendors.released.wait(10)
        if vendors.is_over_limit():
            self._send(
                429, b"", "text/plain", {"Retry-After": vendors.retry_after} if vendors.retry_after else {}
            )
        elif vendors.statuses:
            status, headers = vendors.statuses.pop(0)
            self._send(status, b"an error", "text/plain", headers)
        elif self.path not in vendors.pages:
            self._send(404, b"not found", "text/plain", {})
        else:
            self._misbehave(vendors.pages[self.path])

    def _misbehave(self, page: Page) -> None:  # noqa: C901, PLR0912 - one case for each mood
        match self.vendors.mood:
            case Mood.HONEST:
                self._send(200, page.content, page.content_type, dict(page.headers))
            case Mood.SLOW:
                self.vendors.released.wait(10)
            case Mood.DRIPPING:
                self._head(200, page.content_type, {"Content-Length": "1000"})
                while not self.vendors.released.wait(0.02):
                    self._write(b"\0")
            case Mood.TRUNCATED:
                length = {"Content-Length": str(len(page.content) + 10)}
                self._head(200, page.content_type, length | dict(page.headers))
                self._write(page.content)
            case Mood.OVERSIZED:
                self._head(200, page.content_type, dict(page.headers))
                while self._write(bytes(1 << 16)):
                    pass
            case Mood.COMPRESSED:
                self._send(200, page.content, page.content_type, {"Content-Encoding": "gzip"})
            case Mood.HTML:
                self._send(200, b"<html>please log in</html>", "text/html; charset=utf-8", {})
            case Mood.REDIRECTING:
                self._send(302, b"", "text/plain", {"Location": self.vendors.elsewhere + self.path})
            case Mood.CLOSING:
                self.connection.close()

    def _send(self, status: int, content: bytes, content_type: str, headers: dict[str, str]) -> None:
        self._head(status, content_type, {"Content-Length": str(len(content))} | headers)
        self._write(content)

    def _head(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, content: bytes) -> bool:
        try:
            self.wfile.write(content)
        except OSError:
            return False
        return not self.vendors.released.is_set()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running_vendors(now: Callable[[], float]) -> Generator[Vendors]:
    """A server of one test."""
    released = threading.Event()
    state = Vendors("", now, released)

    class Handler(_Handler):
        """The handler of this server."""

        vendors = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            released.set()
            server.shutdown()
            thread.join(10)


def pem(certificate: bytes) -> bytes:
    """PEM of any octets."""
    text = base64.encodebytes(certificate)
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def der(content: bytes) -> bytes:
    """A DER sequence around some octets: the shape of a certificate or a list, and nothing more."""
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content


def signed(name: str, content: str, signature: str, chain: tuple[str, str]) -> Page:
    """A signed JSON value as PCS sends it."""
    body = f'{{"{name}":{content},"signature":"{signature}"}}'
    return Page(body.encode("utf-8"), JSON_TYPE, ((chain[0], quote(chain[1])),))


def made_up_collateral() -> dict[str, str]:
    """Collateral of the right shape that nobody signed."""
    chain = (pem(der(b"leaf")) + pem(der(b"root"))).decode("ascii")
    return {
        "pck_crl_issuer_chain": chain,
        "root_ca_crl": der(b"root list").hex(),
        "pck_crl": der(b"platform list").hex(),
        "tcb_info_issuer_chain": chain,
        # White space and order that a re-serializer would lose.
        "tcb_info": '{ "id":"TDX", "version":3,"fmspc":"90C06F000000",  "tcbEvaluationDataNumber":17}',
        "tcb_info_signature": "ab" * 64,
        "qe_identity_issuer_chain": chain,
        "qe_identity": '{"id":"TD_QE","version":2,\n"tcbEvaluationDataNumber":17}',
        "qe_identity_signature": "cd" * 64,
    }
