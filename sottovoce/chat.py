# SPDX-License-Identifier: Apache-2.0
"""Conversations in the OpenAI API's form: what is asked, and the texts in a stream of server-sent events."""

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from sottovoce.session import AnswerError, Content, Event, Head

OK, INTERNAL_ERROR = 200, 500


class ApiError(Exception):
    """The enclave answered with an error. This one is authentic."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} ({status})")
        self.status = status


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    content: str = field(repr=False)


def chat_request(model: str, turns: list[Turn], **parameters: float) -> bytes:
    """The JSON document that asks for a streamed answer."""
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    return json.dumps({"model": model, "messages": messages, "stream": True} | parameters).encode()


def model_names(events: list[Event]) -> list[str]:
    """The names in an answer to `GET /v1/models`. Raises ApiError."""
    head, body = _join(events)
    _check(head, body)
    return [str(model["id"]) for model in json.loads(body)["data"]]


def texts(events: Generator[Event]) -> Generator[str]:
    """The texts of one exchange as they come. Raises ApiError, and AnswerError with what came before.

    However it ends, the exchange is over then, and the enclave works no more for it: the traceback of an
    error would keep it.
    """
    pieces: list[str] = []
    with closing(events):
        try:
            for piece in deltas(events):
                pieces.append(piece)
                yield piece
        except AnswerError as error:
            error.partial = "".join(pieces)
            raise


def deltas(events: Iterator[Event]) -> Iterator[str]:
    """The texts in a stream of server-sent events. Raises ApiError."""
    head, held = next(events), b""
    assert isinstance(head, Head), "an answer begins with its head"
    if head.status != OK:
        _check(*_join([head, *events]))
    for event in events:
        assert isinstance(event, Content), "an answer has one head"
        held += event.data
        *blocks, held = held.split(b"\n\n")
        for block in blocks:
            yield from _delta(block)


def _join(events: list[Event]) -> tuple[Head, bytes]:
    heads = [event for event in events if isinstance(event, Head)]
    return heads[0], b"".join(event.data for event in events if isinstance(event, Content))


def _check(head: Head, body: bytes) -> None:
    if head.status != OK:
        raise ApiError(head.status, _error_message(body))


def _error_message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "the enclave refused"


def _delta(block: bytes) -> Iterator[str]:
    text = block.removeprefix(b"data: ")
    if block.startswith(b":") or text == b"[DONE]":  # a comment fills a frame (wire.md 6.7)
        return
    event = json.loads(text)
    if "error" in event:
        raise ApiError(INTERNAL_ERROR, _error_message(text))
    for choice in event["choices"]:
        content = choice["delta"].get("content", "")
        if content:
            yield str(content)
