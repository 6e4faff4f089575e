# SPDX-License-Identifier: Apache-2.0
"""What tests of the API share."""

import json
from dataclasses import replace

from openai.types import ErrorObject

from enclave.engine.protocol import Begun, Finished, FinishReason, Report, Text, TokenLogprob
from models.manifest import Manifest, ToolFormat, WeightsDigest

MANIFEST = Manifest(
    name="m",
    title="Model",
    digest=WeightsDigest(bytes(32)),
    size_bytes=1,
    licence="MIT",
    architecture="llama",
    quantisation="Q4_0",
    context_tokens=64,
    source=None,
    template=bytes(32),
)
WITH_TOOLS = replace(MANIFEST, tools=ToolFormat.TAGGED)
USER = [{"role": "user", "content": "?"}]
Document = dict[str, object]


def said(*texts: str, reason: FinishReason = FinishReason.STOP, choice: int = 0) -> list[Report]:
    """What an engine reports of one choice."""
    return [Begun(0, 5, 2), *(Text(0, text, choice) for text in texts), Finished(0, reason, 3, choice)]


def chosen(token: bytes, *top: tuple[bytes, float]) -> TokenLogprob:
    """A token with its probability."""
    return TokenLogprob(token, -0.5, top)


def events(body: bytes) -> list[Document]:
    """The documents of a stream of server-sent events, without the mark of its end."""
    assert body.endswith(b"\n\n")
    lines = [line for event in body[:-2].split(b"\n\n") for line in event.split(b"\n")]
    data = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
    return [json.loads(each) for each in data if each != b"[DONE]"]


def error_of(body: bytes) -> ErrorObject:
    """The error in a document."""
    document: dict[str, Document] = json.loads(body)
    assert set(document) == {"error"}
    return ErrorObject.model_validate(document["error"])
