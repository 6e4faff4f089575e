# SPDX-License-Identifier: Apache-2.0
"""An https server on the loopback address that serves one file, and can stop in the middle."""

import re
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typing_extensions import override

RANGE = re.compile(r"bytes=([0-9]+)-")


class FileServer:
    """What is served, and how badly."""

    def __init__(self, certificate: Path, content: bytes) -> None:
        self.certificate, self.content = certificate, content
        self.port = 0
        self.cut_after: int | None = None
        self.ranges, self.shift = True, 0
        self.sent: list[int] = []

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"https://localhost:{self.port}{path}"


@contextmanager
def serving(folder: Path, content: bytes) -> Generator[FileServer]:
    """Serve until the block ends: /weights, /other, /long, /short, and /http, which leads to plain HTTP."""
    certificate, key = _certificate(folder)
    state = FileServer(certificate, content)

    class Handler(BaseHTTPRequestHandler):
        """Answers one request."""

        def do_GET(self) -> None:
            bodies = {
                "/weights": content,
                "/other": bytes(len(content)),
                "/long": content + b"x",
                "/short": content[:-1],
            }
            if self.path == "/http":
                self.send_response(302)
                self.send_header("location", f"http://localhost:{state.port}/weights")
                self.end_headers()
            elif self.path in bodies:
                self._send(bodies[self.path])
            else:
                self.send_error(404)

        def _send(self, body: bytes) -> None:
            asked = RANGE.fullmatch(self.headers.get("range", ""))
            start = int(asked[1]) if asked and state.ranges else 0
            if start >= len(body):
                state.sent.append(0)
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                first = start + state.shift
                self.send_header("content-range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.send_header("content-length", str(len(body) - start))
            self.end_headers()
            part = body[start:] if state.cut_after is None else body[start : state.cut_after]
            state.sent.append(len(part))
            self.wfile.write(part)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for localhost that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private
