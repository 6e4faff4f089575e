# SPDX-License-Identifier: Apache-2.0
"""Answers that a program forgets, and a garbage collector that comes at the worst moment."""

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

import pytest
from httpcore._synchronization import ThreadLock
from typing_extensions import override

from sottovoce.courier import EVIDENCE_PATH, Courier
from tests.conftest import wait_until
from tests.fakes.courier import ends

PIECE = b"1\r\na\r\n"


class Endless(BaseHTTPRequestHandler):
    """A document, and answers that have a beginning alone."""

    protocol_version = "HTTP/1.1"
    left = threading.Event()

    def do_GET(self) -> None:
        """The document."""
        assert self.path == EVIDENCE_PATH
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        """An answer, until the client goes away."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.write(PIECE)
        self.wfile.flush()
        assert self.rfile.read(1) == b""
        self.left.set()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """Where such a host is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def forget_an_answer(courier: Courier) -> None:
    """Begin to read an answer, and leave it to the collector."""
    stack = ExitStack()
    pieces = stack.enter_context(courier.deliver(ends().exchange())).iter_raw()
    assert next(pieces) == b"a"
    cycle: list[object] = [stack, pieces]
    cycle.append(cycle)


def collect_inside_the_lock(frame: FrameType, event: str, _argument: object) -> None:
    """Have the collector run whenever this thread has taken a lock of the connection pool."""
    if event == "return" and frame.f_code is ThreadLock.__enter__.__code__:
        gc.collect()


def test_a_forgotten_answer_is_ended_outside_the_lock_of_the_pool(url: str) -> None:
    Endless.left.clear()
    courier = Courier(url)
    gc.collect()
    gc.disable()
    try:
        forget_an_answer(courier)
        sys.setprofile(collect_inside_the_lock)
        assert courier.document() == b"{}"
    finally:
        sys.setprofile(None)
        gc.enable()
    wait_until(Endless.left.is_set, "the forgotten answer is ended")
    courier.close()


def test_an_answer_that_is_left_early_is_ended_at_once(url: str) -> None:
    Endless.left.clear()
    courier = Courier(url)
    with courier.deliver(ends().exchange()) as response:
        assert next(response.iter_raw()) == b"a"
    wait_until(Endless.left.is_set, "the answer is ended")
    courier.close()
