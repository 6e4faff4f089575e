# SPDX-License-Identifier: Apache-2.0
"""Make the vectors of A-OHTTP/1: `python -P -m tests.unit.wire.make_vectors`.

Everything is determined: the pairs of private key and `enc` are those of RFC 9180 and of the hpke-pq draft,
and whoever has the private key can do what the sender did. Bytes are hexadecimal, text is text.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypedDict

from attestation import binding
from tests.fakes.hardware import CLAIMS
from tests.unit.wire.test_hpke_vectors import OURS, Vector
from wire import bhttp, merkle, ohttp, padding, shaping
from wire import session as sessions
from wire.aead import Aead
from wire.hpke import Encapsulate, Kdf, Kem, PrivateKey, private_key_from_bytes

FOLDER: Final = Path(__file__).parents[2] / "vectors" / "a-ohttp-1"
SOURCES: Final = {Kem.X25519: "RFC 9180 appendix A", Kem.X_WING: "draft-ietf-hpke-pq"}
HASHES: Final = tuple(hashlib.sha256(bytes([number])).digest() for number in range(8))

Json = str | int | bool | list["Json"] | dict[str, "Json"]


class Pair(TypedDict):
    """A private key and what some sender encapsulated to it."""

    skR: str
    enc: str


def chosen() -> list[Vector]:
    """The published vectors that the others are built on: one for each suite of ours, and both of X-Wing."""
    found: dict[tuple[int, int], Vector] = {}
    for vector in OURS:
        found.setdefault((vector["kem_id"], vector["aead_id"]), vector)
    return list(found.values())


def key_and_sender(kem: Kem) -> tuple[PrivateKey, Pair, Encapsulate]:
    """A published private key, and a sender whose `enc` to it is the published one."""
    vector = next(vector for vector in OURS if vector["kem_id"] == kem)
    private_key = private_key_from_bytes(kem, bytes.fromhex(vector["skRm"]))
    enc = bytes.fromhex(vector["enc"])
    shared = private_key.decapsulate(enc)
    return private_key, Pair(skR=vector["skRm"], enc=vector["enc"]), lambda _kem, _key: (shared, enc)


def hpke_vectors() -> list[Json]:
    """HPKE in base mode, as published; what the exchange uses of it."""
    return [
        {
            "source": SOURCES[Kem(vector["kem_id"])],
            "kem": vector["kem_id"],
            "kdf": vector["kdf_id"],
            "aead": vector["aead_id"],
            "skR": vector["skRm"],
            "pkR": vector["pkRm"],
            "enc": vector["enc"],
            "info": vector["info"],
            "encryptions": [
                {"aad": each["aad"], "plaintext": each["pt"], "ciphertext": each["ct"]}
                for each in vector["encryptions"][:3]
            ],
            "exports": [
                {"context": each["exporter_context"], "length": each["L"], "value": each["exported_value"]}
                for each in vector["exports"][:3]
            ],
        }
        for vector in chosen()
    ]


def ohttp_vectors() -> list[Json]:
    """One exchange for each key encapsulation, algorithm and format."""
    return [
        exchange(kem, aead, form)
        for kem in (Kem.X_WING, Kem.X25519)
        for aead in Aead
        for form in ohttp.Format
    ]


def exchange(kem: Kem, aead: Aead, form: ohttp.Format) -> dict[str, Json]:
    """A request and its answer."""
    private_key, pair, encapsulate = key_and_sender(kem)
    suite = (Kdf.HKDF_SHA256, aead)
    configuration = ohttp.KeyConfiguration(7, kem, private_key.public_key, (suite,))
    head = bhttp.RequestHead("GET", "https", "llm.example", "/v1/models", ())
    request = bhttp.encode_request(head, b"", padded_size=64)
    response = bhttp.encode_response(bhttp.ResponseHead(200, (("content-type", "text/plain"),)), b"hello")
    request_chunks = [request] if form is ohttp.Format.WHOLE else [request[:20], request[20:], b""]
    response_chunks = [response] if form is ohttp.Format.WHOLE else [response[:7], response[7:]]
    sealer = ohttp.RequestSealer(configuration, suite, form, encapsulate=encapsulate)
    sealed = [sealer.seal(chunk, last=chunk is request_chunks[-1]) for chunk in request_chunks]
    body = b"".join(sealed)
    start = ohttp.HEAD_SIZE + kem.enc_size
    opener = ohttp.RequestOpener(
        ohttp.RequestHead.decode(body[: ohttp.HEAD_SIZE]), form, private_key, body[ohttp.HEAD_SIZE : start]
    )
    opener.receive(body[start:])
    opener.end()
    nonce = bytes(range(max(aead.key_size, aead.nonce_size)))
    answer = opener.response_sealer(random_bytes=lambda _: nonce)
    answered = [answer.seal(chunk, last=chunk is response_chunks[-1]) for chunk in response_chunks]
    return {
        "skR": pair["skR"],
        "enc": pair["enc"],
        "format": form.request_media_type,
        "key_configuration": configuration.encode().hex(),
        "aead": int(aead),
        "request_chunks": [chunk.hex() for chunk in request_chunks],
        "request": body.hex(),
        "response_nonce": nonce.hex(),
        "response_chunks": [chunk.hex() for chunk in response_chunks],
        "response": b"".join(answered).hex(),
    }


def binding_vectors() -> dict[str, Json]:
    """How report data commits to keys, claims and a session request."""
    keys, claims = b"keys", b"{}"
    configuration = binding.configuration_hash(keys, claims)
    root = merkle.leaf(bytes([1]) * 32, b"session keys", b"enc")
    return {
        "keys": keys.hex(),
        "claims": claims.hex(),
        "T": configuration.hex(),
        "report_data": [
            {"tee": int(octet), "mode": mode, "R": value.hex(), "value": data.hex()}
            for octet in binding.TeeOctet
            for mode, value in ((binding.CACHED, binding.NO_FRESHNESS), (binding.FRESH, root))
            for data in [binding.report_data(octet, mode, configuration, value)]
        ],
        "gpu_nonce": hashlib.sha256(b"A-OHTTP/1 gpu\0" + configuration).hexdigest(),
        "canonical_claims": CLAIMS.encode().decode("ascii"),
    }


def merkle_vectors() -> dict[str, Json]:
    """Leaves, and trees with every path."""
    nonce, keys, enc = bytes([1]) * 32, b"session keys", b"enc"
    leaves = tuple(map(merkle.Leaf, HASHES))
    trees: list[Json] = []
    for size in (1, 2, 4, 8):
        tree = merkle.Tree(leaves[:size])
        paths: list[Json] = [[node.hex() for node in tree.path(index)] for index in range(size)]
        below: list[Json] = [each.hex() for each in leaves[:size]]
        trees.append({"leaves": below, "root": tree.root.hex(), "paths": paths})
    return {
        "leaves": [
            {
                "nonce": nonce.hex(),
                "session_keys": keys.hex(),
                "enc": enc.hex(),
                "leaf": merkle.leaf(nonce, keys, enc).hex(),
            }
        ],
        "trees": trees,
    }


def padding_vectors() -> list[Json]:
    """Sizes and what they are padded to, on both sides of every step up to 2,048 and of some beyond."""
    small = (1, 1023, 1024, 1025, 1088, 1089, 2000, 2047, 2048, 2049, 4097)
    large = (10_000, 20_000, 65_537, 100_000, 1 << 20, (1 << 20) + 1)
    return [{"size": size, "padded": padding.padded_size(size)} for size in small + large]


def shaping_vectors() -> dict[str, Json]:
    """Values of the field, and what goes into the frames and buckets of a short stream."""
    event = "data: " + "x" * 30 + "\n\n"
    schedules: dict[str, list[str]] = {
        "a comment fills a frame": [event, "", event + event],
        "room of one byte": ["data: " + "x" * 245 + "\n\n", event],
        "room of two bytes": ["data: " + "x" * 244 + "\n\n", event],
        "no room": ["data: " + "x" * 246 + "\n\n", event],
        "a backlog takes two frames, then eight": ["data: " + "x" * 400 + "\n\n", event * 60, ""],
        "an event waits for its end": ["data: x", "x\n\n"],
        "a stream without text": [],
    }
    return {
        "accepted": {value: shaping.parse_shaping(value).value for value in ACCEPTED},
        "refused": list(REFUSED),
        "frames": [shaped(about, pushed, framed(pushed)) for about, pushed in schedules.items()],
        "buckets": [shaped(about, pushed, bucketed(pushed)) for about, pushed in schedules.items()],
    }


def shaped(about: str, pushed: list[str], plaintexts: list[bytes]) -> dict[str, Json]:
    """One stream in frames or buckets of 256 bytes."""
    events, pieces = list[Json](pushed), list[Json](piece.hex() for piece in plaintexts)
    return {"about": about, "size": 256, "pushed": events, "plaintexts": pieces}


ACCEPTED: Final = ("frame", "frame;ms=50;b=512", "frame;ms=100;b=1024", "bucket", "bucket;b=256", "off")
REFUSED: Final = ("", "Frame", "frame;b=512;ms=50", "frame;ms=50;b=500", "frame;ms=5;b=512", "bucket;b=0")


def framed(pushed: list[str]) -> list[bytes]:
    """What leaves at each tick where this is pushed before it, to the end."""
    shaper, frames = shaping.FrameShaper(shaping.Frames(50, 256)), list[bytes]()
    for events in pushed:
        shaper.push(events.encode())
        frames.append(shaper.tick())
    shaper.finish()
    while not shaper.done:
        frames.append(shaper.tick())
    return frames


def bucketed(pushed: list[str]) -> list[bytes]:
    """What leaves where this is pushed, to the end."""
    shaper = shaping.BucketShaper(shaping.Buckets(256))
    return [chunk for events in pushed for chunk in shaper.push(events.encode())] + shaper.finish()


def session_vectors() -> dict[str, Json]:
    """The messages by which a session is opened, and keys that are handed out."""
    private_key, _, _ = key_and_sender(Kem.X_WING)
    keys = tuple(
        ohttp.KeyConfiguration(number, Kem.X_WING, private_key.public_key, (sessions.SUITE,))
        for number in (1, 2)
    )
    request = sessions.SessionRequest(bytes(range(32)), True, 2)
    identifier = sessions.SessionId(bytes(range(16)))
    response = sessions.SessionResponse(identifier, ohttp.encode_key_list(keys), 3600, 1024, b'{"v":1}')
    document = request.encode().decode("ascii")
    edits: dict[str, tuple[str, str]] = {
        "another version": ('"v":1', '"v":2'),
        "a version that is true": ('"v":1', '"v":true'),
        "no keys": ('"n":2', '"n":0'),
        "too many keys": ('"n":2', '"n":17'),
        "a short nonce": ("Hh8", "Hg"),
        "a nonce with padding": ('Hh8"', 'Hh8="'),
        "a nonce whose last bits are not zero": ('Hh8"', 'Hh9"'),
        "fresh is no truth value": ("true", "1"),
        "an unknown member": ('"n":2', '"n":2,"more":1'),
        "a member twice": ('"n":2', '"n":2,"n":2'),
        "something behind": ('"n":2}', '"n":2}\n'),
    }
    return {
        "request": {"nonce": request.nonce.hex(), "fresh": True, "n": 2, "document": document},
        "refused_requests": {about: document.replace(*edit) for about, edit in edits.items()},
        "response": {
            "sid": identifier.raw.hex(),
            "path": identifier.path,
            "route_tag": identifier.route_tag.hex(),
            "keys": response.keys.hex(),
            "ttl": response.ttl_seconds,
            "max": response.max_requests,
            "evidence": response.evidence.decode("ascii"),
            "document": response.encode().decode("ascii"),
        },
        "next_key": {"configuration": keys[1].encode().hex(), "field": sessions.encode_next_key(keys[1])},
    }


MAKERS: Final[dict[str, Callable[[], Json]]] = {
    "hpke.json": hpke_vectors,
    "ohttp.json": ohttp_vectors,
    "binding.json": binding_vectors,
    "merkle.json": merkle_vectors,
    "padding.json": padding_vectors,
    "shaping.json": shaping_vectors,
    "sessions.json": session_vectors,
}


def files() -> dict[str, str]:
    """Each file's name and text."""
    return {name: json.dumps(make(), indent=1) + "\n" for name, make in MAKERS.items()}


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
