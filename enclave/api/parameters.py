# SPDX-License-Identifier: Apache-2.0
"""Parameters that several requests share, and how a body is read: what is unknown is named, never ignored."""

import re
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta
from typing_extensions import override

from enclave.api.errors import ApiError
from enclave.engine.protocol import MAX_CHOICES, MAX_TOP_LOGPROBS

Text = Annotated[str, Meta(max_length=1 << 20)]
ModelName = Annotated[str, Meta(min_length=1, max_length=200)]
StopText = Annotated[str, Meta(min_length=1, max_length=256)]
TokenCount = Annotated[int, Meta(ge=1, le=1 << 20)]
Token = Annotated[int, Meta(ge=0, lt=1 << 31)]
TokenKey = Annotated[str, Meta(pattern=r"^[0-9]{1,9}\Z")]
Bias = Annotated[float, Meta(ge=-100, le=100)]
FunctionName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
CallId = Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z")]
TopLogprobs = Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)]

UNKNOWN = re.compile(r"unknown field `([^`]*)`")
MISSING = re.compile(r"missing required field `([^`]*)`")
PLACE = re.compile(r" - at (?:`key` in )?`(?:key in )?\$\.?([^`]*)`")
ANY_KEY = re.compile(r"\[\.\.\.\]$")


class Private(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a request, which says what it is and not what is in it."""

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class StreamOptions(Private, frozen=True):
    """What else a stream tells."""

    include_usage: bool | None = None


class Sampled(Private, frozen=True):
    """How tokens are chosen. What OpenAI's interface does not have is what other servers call so."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logit_bias: Annotated[dict[TokenKey, Bias], Meta(max_length=1024)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1 << 20)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=4)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class AnyText(Private, frozen=True, tag_field="type", tag="text"):
    """An answer of any form."""


class AnyObject(Private, frozen=True, tag_field="type", tag="json_object"):
    """An answer that is a JSON object."""


class Function(Private, frozen=True):
    """A function that the model may call. Arguments always fit the schema where a call is demanded."""

    name: FunctionName
    description: Text | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"null")
    strict: bool | None = None


class NamedFunction(Private, frozen=True):
    """The function that has to be called."""

    name: FunctionName


Choice = Literal["none", "auto", "required"]

_Body = TypeVar("_Body")


def decode(decoder: "msgspec.json.Decoder[_Body]", body: bytes, *, within: str = "") -> _Body:
    """Read the body of a request, or what stands within a parameter of it.

    Raises ApiError, which names the parameter that is unknown or wrong.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _explain(str(error), within) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, "the body is not valid JSON", code="invalid_json") from None


def invalid(param: str, message: str) -> ApiError:
    """The error for a parameter whose value cannot be used."""
    return ApiError(400, f"{param}: {message}", code="invalid_value", param=param)


def unsupported(param: str, message: str) -> ApiError:
    """The error for a parameter that this model, or this service, does not have."""
    return ApiError(400, message, code="unsupported_parameter", param=param)


def _explain(message: str, within: str) -> ApiError:
    """Turn the library's message into one that names the parameter."""
    place = PLACE.search(message)
    inside = ".".join(filter(None, (within, ANY_KEY.sub("", place[1]) if place else "")))
    unknown, missing = UNKNOWN.search(message), MISSING.search(message)
    if unknown:
        param = ".".join(filter(None, (inside, unknown[1])))
        return unsupported(param, f"the parameter {param} is not supported")
    if missing:
        param = ".".join(filter(None, (inside, missing[1])))
        return invalid(param, "is required")
    said = PLACE.sub("", message)
    return ApiError(400, f"{inside or 'the body'}: {said}", code="invalid_value", param=inside or None)
