# SPDX-License-Identifier: Apache-2.0
"""What an authentic request meets before the API, over a real link."""

import asyncio
from pathlib import Path

import pytest

from attestation import binding
from attestation.binding import TeeOctet
from attestation.evidence import decode_evidence
from enclave.report_protocol import Signed
from tests.fakes import hardware
from tests.fakes.gateway import GATEWAY, NONCE, PROMPT, Gateway, code_of, head, play, read, request, sealed
from wire import merkle, ohttp
from wire.session import SESSION_PATH, SessionRequest, decode_response

STREAM = b'{"stream":true}'
NAME = ("idempotency-key", "AAAAAAAAAAAAAAAAAAAAAA")
REPORT_DATA = slice(0x50, 0x90)
SHAPED_BYTES = 32 + (2 + 256 + 16) + 16 * (2 + 512 + 16) + 17


class SometimesBroken:
    """Hardware that gives a report, until it does not."""

    def __init__(self) -> None:
        self._sign = hardware.ReportSource(hardware.guest()).signed_report
        self.broken = False
        self.reports = 0

    def signed_report(self, report_data: bytes) -> Signed:
        """A report. Raises OSError."""
        if self.broken:
            raise OSError("no report")
        self.reports += 1
        return self._sign(report_data)


def test_fresh_evidence_is_for_this_request_and_of_the_epoch_in_force(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        key = gateway.epoch_keys[0]
        await gateway.rotation.rotate()  # after the client read the keys
        sealer, body = sealed(
            key, request(SessionRequest(NONCE, fresh=True, keys=2).encode(), path=SESSION_PATH)
        )
        opened = read(sealer, await gateway.post(GATEWAY, body))
        response = decode_response(opened.content)
        evidence = decode_evidence(response.evidence)
        assert evidence.keys == gateway.rotation.published.attested.key_list
        leaf = merkle.leaf(NONCE, response.keys, sealer.encapsulated)
        root = merkle.root_of(leaf, evidence.index, evidence.path)
        configuration = binding.configuration_hash(evidence.keys, evidence.claims)
        wanted = binding.report_data(TeeOctet.SIMULATED, binding.FRESH, configuration, root)
        assert evidence.report[REPORT_DATA] == wanted

    play(tmp_path, scenario)


def test_sessions_of_one_moment_share_a_report_and_cached_ones_need_none(tmp_path: Path) -> None:
    source = SometimesBroken()

    async def scenario(gateway: Gateway) -> None:
        before = source.reports
        sessions = await asyncio.gather(*(gateway.open_session(1) for _ in range(6)))
        assert source.reports - before <= 2
        assert len({session.response.session_id for session in sessions}) == 6
        before = source.reports
        cached = await gateway.open_session(1, fresh=False)
        assert source.reports == before
        assert cached.response.evidence == gateway.rotation.published.attested.document

    play(tmp_path, scenario, source=source)


def test_without_a_report_there_is_no_session(tmp_path: Path) -> None:
    source = SometimesBroken()

    async def scenario(gateway: Gateway) -> None:
        source.broken = True
        message = request(SessionRequest(NONCE, fresh=True, keys=2).encode(), path=SESSION_PATH)
        _, opened = await gateway.ask(GATEWAY, gateway.epoch_keys[0], message)
        assert opened is not None
        assert (opened.status, code_of(opened)) == (503, "no_report")
        assert gateway.keys.sessions.size == 0
        assert not await gateway.rotation.rotate()
        source.broken = False
        assert (await gateway.open_session(2)).keys

    play(tmp_path, scenario, source=source)


@pytest.mark.parametrize("fields", [(("a-ohttp-shaping", "everything"),), (NAME,)])
def test_a_refused_stream_looks_like_a_stream(tmp_path: Path, fields: tuple[tuple[str, str], ...]) -> None:
    async def scenario(gateway: Gateway) -> None:
        gateway.application.pause = 0.01
        key = gateway.epoch_keys[0]
        good, opened = await gateway.ask(GATEWAY, key, request(STREAM, NAME))
        assert opened is not None
        refused, error = await gateway.ask(GATEWAY, key, request(STREAM, *fields))
        assert error is not None
        assert code_of(error) in {"invalid_shaping", "repeated_request"}
        assert len(good.body) == len(refused.body) == SHAPED_BYTES
        assert len(gateway.application.calls) == 1

    play(tmp_path, scenario)


def test_who_has_the_whole_answer_may_go(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Some clients close when the message is complete; frames of zeros would still follow."""

    async def scenario(gateway: Gateway) -> None:
        _, body = sealed(gateway.epoch_keys[0], request(STREAM))
        reader, writer = await gateway.connect(head("POST", GATEWAY), body)
        await reader.readexactly(SHAPED_BYTES // 2)
        writer.transport.abort()

    play(tmp_path, scenario)
    events = capfd.readouterr().err
    assert '"outcome": "answered", "status": 200' in events
    assert "cancelled" not in events


def test_who_goes_earlier_has_it_cancelled(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario(gateway: Gateway) -> None:
        gateway.application.pause = 1.0
        _, body = sealed(gateway.epoch_keys[0], request(STREAM))
        reader, writer = await gateway.connect(head("POST", GATEWAY), body)
        await reader.readexactly(1000)
        writer.transport.abort()
        await gateway.application.cancelled.wait()

    play(tmp_path, scenario)
    assert '"outcome": "cancelled", "status": 0' in capfd.readouterr().err


def test_a_request_in_a_session_says_which(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        await gateway.ask(session.path, session.keys[0], request(PROMPT))
        await gateway.ask(GATEWAY, gateway.epoch_keys[1], request(PROMPT))
        assert [call.session for call in gateway.application.calls] == [session.response.session_id.raw, b""]

    play(tmp_path, scenario)


def test_an_unchunked_request_in_a_session(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        session = await gateway.open_session(1)
        sealer, body = sealed(session.keys[0], request(PROMPT), form=ohttp.Format.WHOLE)
        opened = read(sealer, await gateway.post(session.path, body, ohttp.REQUEST))
        assert (opened.status, opened.content) == (200, PROMPT)
        assert "a-ohttp-key" in opened.fields

    play(tmp_path, scenario)
