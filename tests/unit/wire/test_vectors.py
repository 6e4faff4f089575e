# SPDX-License-Identifier: Apache-2.0
"""The vectors of A-OHTTP/1, read from their files alone; and that the files are what the script makes."""

import json
from pathlib import Path
from typing import TypedDict

import pytest

from attestation import binding
from attestation.evidence import decode_claims
from tests.unit.wire.make_vectors import FOLDER, MAKERS, files
from wire import bhttp, hpke, merkle, ohttp, padding, session, shaping

HEAD = bhttp.encode_response_head(bhttp.ResponseHead(200, (("content-type", "text/event-stream"),)))


def load(name: str) -> str:
    """The text of a file."""
    return (FOLDER / name).read_text(encoding="ascii")


def octets(text: str) -> bytes:
    """Bytes from hexadecimal."""
    return bytes.fromhex(text)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_the_script_makes_this_file(name: str) -> None:
    assert files()[name] == load(name)


def test_there_is_no_other_file() -> None:
    assert {path.name for path in Path(FOLDER).iterdir()} == set(MAKERS)


class Message(TypedDict):
    aad: str
    plaintext: str
    ciphertext: str


class Secret(TypedDict):
    context: str
    length: int
    value: str


class Context(TypedDict):
    source: str
    kem: int
    kdf: int
    aead: int
    skR: str
    pkR: str
    enc: str
    info: str
    encryptions: list[Message]
    exports: list[Secret]


def contexts() -> list[Context]:
    vectors: list[Context] = json.loads(load("hpke.json"))
    return vectors


def test_hpke_has_both_key_encapsulations_with_the_algorithms_we_offer() -> None:
    assert {vector["kem"] for vector in contexts()} == {0x20, 0x647A}


@pytest.mark.parametrize("vector", contexts(), ids=lambda vector: f"{vector['kem']:04x}-{vector['aead']}")
def test_hpke(vector: Context) -> None:
    suite = hpke.Suite(hpke.Kem(vector["kem"]), hpke.Kdf(vector["kdf"]), hpke.Aead(vector["aead"]))
    private_key = hpke.private_key_from_bytes(suite.kem, octets(vector["skR"]))
    assert private_key.public_key.hex() == vector["pkR"]
    context = hpke.setup_recipient(suite, private_key, octets(vector["enc"]), octets(vector["info"]))
    for message in vector["encryptions"]:
        opened = context.open(octets(message["ciphertext"]), octets(message["aad"]))
        assert opened.hex() == message["plaintext"]
    for secret in vector["exports"]:
        assert context.export(octets(secret["context"]), secret["length"]).hex() == secret["value"]


class Exchanged(TypedDict):
    skR: str
    enc: str
    format: str
    key_configuration: str
    aead: int
    request_chunks: list[str]
    request: str
    response_nonce: str
    response_chunks: list[str]
    response: str


def exchanges() -> list[Exchanged]:
    vectors: list[Exchanged] = json.loads(load("ohttp.json"))
    return vectors


@pytest.mark.parametrize("vector", exchanges(), ids=lambda vector: f"{vector['format']}-{vector['aead']}")
def test_ohttp(vector: Exchanged) -> None:
    (form,) = [form for form in ohttp.Format if form.request_media_type == vector["format"]]
    configuration = ohttp.decode_configuration(octets(vector["key_configuration"]))
    private_key = hpke.private_key_from_bytes(configuration.kem, octets(vector["skR"]))
    body = octets(vector["request"])
    head = ohttp.RequestHead.decode(body[: ohttp.HEAD_SIZE])
    assert (head.key_id, head.suite.aead) == (configuration.key_id, vector["aead"])
    enc, rest = octets(vector["enc"]), body[ohttp.HEAD_SIZE + configuration.kem.enc_size :]
    assert body[ohttp.HEAD_SIZE :].startswith(enc)
    opener = ohttp.RequestOpener(head, form, private_key, enc)
    opened = opener.receive(rest) + opener.end()
    assert [chunk.hex() for chunk in opened] == vector["request_chunks"]
    decoder = bhttp.RequestDecoder()
    for chunk in opened:
        decoder.receive(chunk)
    assert isinstance(decoder.end(), list)

    nonce = octets(vector["response_nonce"])
    sealer = opener.response_sealer(random_bytes=lambda _: nonce)
    pieces = [octets(chunk) for chunk in vector["response_chunks"]]
    sealed = [sealer.seal(chunk, last=number == len(pieces)) for number, chunk in enumerate(pieces, 1)]
    assert b"".join(sealed).hex() == vector["response"]


class ReportData(TypedDict):
    tee: int
    mode: int
    R: str
    value: str


class Bound(TypedDict):
    keys: str
    claims: str
    T: str
    report_data: list[ReportData]
    gpu_nonce: str
    canonical_claims: str


def test_binding() -> None:
    vector: Bound = json.loads(load("binding.json"))
    configuration = binding.configuration_hash(octets(vector["keys"]), octets(vector["claims"]))
    assert configuration.hex() == vector["T"]
    assert {(each["tee"], each["mode"]) for each in vector["report_data"]} == {
        (tee, mode) for tee in (1, 2, 255) for mode in (0, 1)
    }
    for each in vector["report_data"]:
        data = binding.report_data(
            binding.TeeOctet(each["tee"]), each["mode"], configuration, octets(each["R"])
        )
        assert data.hex() == each["value"]
    claims = vector["canonical_claims"].encode("ascii")
    assert decode_claims(claims).encode() == claims
    assert vector["gpu_nonce"] == "90e2ded0d0cfd20d2031a5f445607cfd803e06b1ebfa360d88963438236012ec"


class LeafOf(TypedDict):
    nonce: str
    session_keys: str
    enc: str
    leaf: str


class TreeOf(TypedDict):
    leaves: list[str]
    root: str
    paths: list[list[str]]


class Trees(TypedDict):
    leaves: list[LeafOf]
    trees: list[TreeOf]


def test_merkle() -> None:
    vector: Trees = json.loads(load("merkle.json"))
    for each in vector["leaves"]:
        leaf = merkle.leaf(octets(each["nonce"]), octets(each["session_keys"]), octets(each["enc"]))
        assert leaf.hex() == each["leaf"]
    for tree in vector["trees"]:
        for index, (leaf_text, path) in enumerate(zip(tree["leaves"], tree["paths"], strict=True)):
            root = merkle.root_of(merkle.Leaf(octets(leaf_text)), index, tuple(map(octets, path)))
            assert root.hex() == tree["root"]


class Padded(TypedDict):
    size: int
    padded: int


def test_padding() -> None:
    vectors: list[Padded] = json.loads(load("padding.json"))
    assert [padding.padded_size(each["size"]) for each in vectors] == [each["padded"] for each in vectors]


class Shaped(TypedDict):
    about: str
    size: int
    pushed: list[str]
    plaintexts: list[str]


class Shapes(TypedDict):
    accepted: dict[str, str]
    refused: list[str]
    frames: list[Shaped]
    buckets: list[Shaped]


def shapes() -> Shapes:
    vectors: Shapes = json.loads(load("shaping.json"))
    return vectors


def test_shaping_field() -> None:
    assert {value: shaping.parse_shaping(value).value for value in shapes()["accepted"]} == shapes()[
        "accepted"
    ]
    for value in shapes()["refused"]:
        with pytest.raises(shaping.ShapingError):
            shaping.parse_shaping(value)


@pytest.mark.parametrize("vector", shapes()["frames"] + shapes()["buckets"], ids=lambda each: each["about"])
def test_shaped_streams_hold_their_text_and_comments(vector: Shaped) -> None:
    plaintexts = [octets(each) for each in vector["plaintexts"]]
    assert all(len(plaintext) % vector["size"] == 0 for plaintext in plaintexts)
    decoder = bhttp.ResponseDecoder()
    events = [event for plaintext in [HEAD, *plaintexts] for event in decoder.receive(plaintext)]
    assert isinstance((events + decoder.end())[-1], bhttp.End)
    content = b"".join(event.data for event in events if isinstance(event, bhttp.Content)).decode()
    blocks = [block + "\n\n" for block in content.split("\n\n")[:-1] if not block.startswith(":")]
    assert "".join(blocks) == "".join(vector["pushed"])


class RequestDocument(TypedDict):
    nonce: str
    fresh: bool
    n: int
    document: str


class ResponseDocument(TypedDict):
    sid: str
    path: str
    route_tag: str
    keys: str
    ttl: int
    max: int
    evidence: str
    document: str


class NextKey(TypedDict):
    configuration: str
    field: str


class SessionMessages(TypedDict):
    request: RequestDocument
    refused_requests: dict[str, str]
    response: ResponseDocument
    next_key: NextKey


def test_sessions() -> None:
    vector: SessionMessages = json.loads(load("sessions.json"))
    asked, given = vector["request"], vector["response"]
    request = session.SessionRequest(octets(asked["nonce"]), asked["fresh"], asked["n"])
    assert session.decode_request(asked["document"].encode()) == request
    assert request.encode().decode() == asked["document"]
    for document in vector["refused_requests"].values():
        assert document != asked["document"]
        with pytest.raises(session.SessionMessageError):
            session.decode_request(document.encode())
    identifier = session.SessionId(octets(given["sid"]))
    assert (identifier.path, identifier.route_tag.hex()) == (given["path"], given["route_tag"])
    keys, evidence = octets(given["keys"]), given["evidence"].encode()
    response = session.SessionResponse(identifier, keys, given["ttl"], given["max"], evidence)
    assert session.decode_response(given["document"].encode()) == response
    configurations = session.decode_session_keys(keys, asked["n"])
    assert configurations[1].encode().hex() == vector["next_key"]["configuration"]
    assert session.decode_next_key(vector["next_key"]["field"], 2) == configurations[1]
