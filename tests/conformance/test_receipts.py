# SPDX-License-Identifier: Apache-2.0
"""A second reader of receipts, written after docs/spec/receipts.md on cbor2 and cryptography alone.

It shares no code with the project, and knows nothing but the files of vectors.
"""

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias, TypedDict

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FOLDER = Path(__file__).parents[1] / "vectors" / "receipts"
Item: TypeAlias = "int | str | bytes | list[Item] | dict[str, Item]"


class Enclave(TypedDict):
    private_key: str
    claims: str
    key_list: str
    measurement: str


class Vector(TypedDict):
    request: str
    stream: bool
    answer: str
    texts: list[str]
    members: dict[str, Item]
    payload: str
    signed: str
    receipt: str
    value: str


class Good(TypedDict):
    enclave: Enclave
    receipts: dict[str, Vector]


class Forged(TypedDict):
    receipt: str
    fails: str


class Bad(TypedDict):
    refused: dict[str, str]
    forged: dict[str, Forged]


GOOD: Good = json.loads((FOLDER / "good.json").read_text("ascii"))
BAD: Bad = json.loads((FOLDER / "bad.json").read_text("ascii"))
CLAIMS: dict[str, str | int] = json.loads(GOOD["enclave"]["claims"])
DIGESTS = {"request", "answer", "text", "model", "release", "configuration", "keys", "nonce"}
NAMES = DIGESTS | {"version", "measurement", "time", "sampling", "tokens", "finish", "repeatable"}


class RefusedError(Exception):
    """Not the form of a receipt."""


@dataclass(frozen=True, slots=True)
class Read:
    """A receipt that has its form."""

    members: dict[str, Item]
    payload: bytes
    key: bytes
    nonce: bytes
    signature: bytes


def canonical(data: bytes) -> "Item | cbor2.CBORTag":
    """One CBOR item in deterministic form."""
    try:
        item: Item = cbor2.loads(data)
        same = cbor2.dumps(item, canonical=True) == data
    except (cbor2.CBORError, ValueError, TypeError):
        raise RefusedError from None
    if not same:
        raise RefusedError
    return item


def octets(item: object, size: int) -> bytes:
    if not isinstance(item, bytes) or len(item) != size:
        raise RefusedError
    return item


def number(item: object) -> int:
    if type(item) is not int or item < 0:
        raise RefusedError
    return item


def read(data: bytes) -> Read:
    """Read what has the form, and nothing else."""
    tagged = canonical(data) if len(data) <= 2048 else None
    if not isinstance(tagged, cbor2.CBORTag) or tagged.tag != 18:
        raise RefusedError
    match list(tagged.value):
        case [b"\xa1\x01\x27", {"key": key, "nonce": nonce, **more}, bytes(payload), signature] if not more:
            members = read_payload(payload)
            return Read(members, payload, octets(key, 32), octets(nonce, 32), octets(signature, 64))
        case _:
            raise RefusedError


def read_payload(payload: bytes) -> dict[str, Item]:
    """The members of the payload, each of its kind."""
    members = canonical(payload)
    if not isinstance(members, dict) or set(members) != NAMES or number(members["version"]) != 1:
        raise RefusedError
    for name in DIGESTS:
        octets(members[name], 32)
    octets(members["measurement"], 48)
    number(members["time"])
    match members["tokens"], members["sampling"], members["finish"], members["repeatable"]:
        case [prompt, answer], dict(settings), str(), str():
            number(prompt)
            number(answer)
            if all(type(value) in (int, str) for value in settings.values()):
                return members
        case _:
            pass
    raise RefusedError


def salted(what: str, nonce: bytes, digest: bytes) -> bytes:
    return sha256(f"A-OHTTP/1 receipt {what}\0".encode() + nonce + digest).digest()


def events_of(content: bytes, *, stream: bool) -> bytes:
    """What is digested of an answer."""
    if not stream:
        return content
    events = content.split(b"\n\n")[:-1]
    return b"".join(
        event + b"\n\n" for event in events if not event.startswith(b":") and event != b"data: [DONE]"
    )


def text_digest(texts: list[bytes]) -> bytes:
    if len(texts) == 1:
        return sha256(texts[0]).digest()
    return sha256(b"".join(sha256(text).digest() for text in texts)).digest()


def is_signed(found: Read) -> bool:
    to_sign = cbor2.dumps(["Signature1", bytes.fromhex("a10127"), b"A-OHTTP/1 receipt", found.payload])
    try:
        Ed25519PublicKey.from_public_bytes(found.key).verify(found.signature, to_sign)
    except InvalidSignature:
        return False
    return True


def first_failure(data: bytes, request: bytes, answer: bytes) -> str | None:
    """The name of the first check that fails, of those after the evidence."""
    found, enclave = read(data), GOOD["enclave"]
    members, nonce = found.members, found.nonce
    answers = [events_of(answer, stream=stream) for stream in (True, False)]
    checks = {
        "receipt key": sha256(found.key).hexdigest() == CLAIMS["rct"],
        "signature": is_signed(found),
        "key list": members["keys"] == sha256(bytes.fromhex(enclave["key_list"])).digest(),
        "model": in_hexadecimal(members["model"]) == CLAIMS["mdl"],
        "measurement": in_hexadecimal(members["measurement"]) == enclave["measurement"],
        "release": in_hexadecimal(members["release"]) == CLAIMS["rel"],
        "configuration": in_hexadecimal(members["configuration"]) == CLAIMS["cfg"],
        "nonce": members["nonce"] == sha256(b"A-OHTTP/1 receipt nonce\0" + nonce).digest(),
        "request": members["request"] == salted("request", nonce, sha256(request).digest()),
        "answer": members["answer"]
        in [salted("answer", nonce, sha256(content).digest()) for content in answers],
    }
    return next((name for name, holds in checks.items() if not holds), None)


def in_hexadecimal(item: Item) -> Item:
    match item:
        case bytes():
            return item.hex()
        case list():
            return [in_hexadecimal(each) for each in item]
        case dict():
            return {name: in_hexadecimal(each) for name, each in item.items()}
        case _:
            return item


@pytest.mark.parametrize("name", GOOD["receipts"])
def test_the_second_reader_accepts(name: str) -> None:
    vector = GOOD["receipts"][name]
    data, request, answer = (bytes.fromhex(vector[part]) for part in ("receipt", "request", "answer"))
    assert first_failure(data, request, answer) is None
    found = read(data)
    assert in_hexadecimal(found.members) == vector["members"]
    assert found.payload.hex() == vector["payload"]
    digested = events_of(answer, stream=vector["stream"])
    assert found.members["answer"] == salted("answer", found.nonce, sha256(digested).digest())
    texts = [bytes.fromhex(text) for text in vector["texts"]]
    assert found.members["text"] == salted("text", found.nonce, text_digest(texts))
    assert vector["value"] == base64.urlsafe_b64encode(data).decode().rstrip("=")
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(GOOD["enclave"]["private_key"]))
    assert private.sign(bytes.fromhex(vector["signed"])) == found.signature


@pytest.mark.parametrize("name", BAD["refused"])
def test_the_second_reader_refuses(name: str) -> None:
    with pytest.raises(RefusedError):
        read(bytes.fromhex(BAD["refused"][name]))


@pytest.mark.parametrize("name", BAD["forged"])
def test_the_second_reader_names_the_same_check(name: str) -> None:
    vector, stream = BAD["forged"][name], GOOD["receipts"]["a stream"]
    request, answer = bytes.fromhex(stream["request"]), bytes.fromhex(stream["answer"])
    assert first_failure(bytes.fromhex(vector["receipt"]), request, answer) == vector["fails"]
