# SPDX-License-Identifier: Apache-2.0
"""Embeddings: one vector of unit length for each text."""

import base64
import struct
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from enclave.api.completions import Tokens
from enclave.api.parameters import ModelName, Private, Text, Token, decode, invalid
from enclave.engine.protocol import MAX_TEXTS, Embedded, PlainText, TokenList

FLOAT_BYTES = 4


class EmbeddingRequest(Private, frozen=True, kw_only=True):
    """The body of POST /v1/embeddings."""

    model: ModelName
    input: Text | Annotated[list[Text | Token | Tokens], Meta(min_length=1, max_length=1 << 20)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None


_decoder = msgspec.json.Decoder(EmbeddingRequest)


def parse_embedding_request(body: bytes) -> EmbeddingRequest:
    """Read a request. Raises ApiError, which names the parameter that is unknown or wrong."""
    return decode(_decoder, body)


def texts_of(request: EmbeddingRequest) -> tuple[PlainText | TokenList, ...]:
    """The texts, each as it is or as tokens. Raises ApiError."""
    if isinstance(request.input, str):
        return (PlainText(request.input),)
    tokens = [each for each in request.input if isinstance(each, int)]
    if len(tokens) == len(request.input):
        return (TokenList(tuple(tokens)),)
    if len(request.input) > MAX_TEXTS:
        raise invalid("input", f"at most {MAX_TEXTS} texts in each request")
    if tokens:
        raise invalid("input", "tokens and texts cannot be mixed")
    return tuple(
        PlainText(each) if isinstance(each, str) else TokenList(tuple(each))
        for each in request.input
        if not isinstance(each, int)
    )


def document(request: EmbeddingRequest, embedded: Embedded, model: str) -> bytes:
    """The whole answer. Raises ApiError where vectors of another size are wanted."""
    size = len(embedded.vectors[0]) // FLOAT_BYTES
    if request.dimensions not in (None, size):
        raise invalid("dimensions", f"the vectors of {model} have {size}")
    vectors = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, request.encoding_format)}
        for index, vector in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": embedded.prompt_tokens, "total_tokens": embedded.prompt_tokens}
    return msgspec.json.encode({"object": "list", "data": vectors, "model": model, "usage": usage})


def _vector(vector: bytes, form: str | None) -> str | list[float]:
    if form == "base64":
        return base64.b64encode(vector).decode()
    return list(struct.unpack(f"<{len(vector) // FLOAT_BYTES}f", vector))
