# SPDX-License-Identifier: Apache-2.0
"""Make the vectors of receipts: `python -P -m tests.unit.wire.make_receipt_vectors`.

Good receipts come from the enclave's own code. Ed25519 always signs the same, so every run makes the same
files. Bytes are hexadecimal, text is text.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from attestation.results.values import Value, decode_cbor, encode_cbor
from enclave.api.account import Account
from enclave.engine.protocol import Sampling
from enclave.receipts import Issuer
from sottovoce.receipt_form import decode_receipt, from_text
from tests.fakes import hardware
from tests.fakes.receipts import ACCOUNT, ANSWER, MINUTE, NONCE, REQUEST, TEXT, run, seed_bytes
from wire import receipt as form
from wire.receipt import ContentDigest, Wish
from wire.strict_json import encode_base64url

FOLDER: Final = Path(__file__).parents[2] / "vectors" / "receipts"
Json = str | int | bool | list["Json"] | dict[str, "Json"]

FILLED: Final = b":    \n\n" + ANSWER + b": a-ohttp-receipt eA\n\n" + form.DONE + form.EVENT_END
WHOLE: Final = b'{"choices":[{"message":{"content":"No."}}]}'
TWO: Final = sha256(sha256(b"No.").digest() + sha256(b"Nein.").digest()).digest()
NOTHING_SAID: Final = sha256(b"").digest()
EVERY_SETTING: Final = Sampling(0.25, 0.5, 4294967295, 40, 0.05, -0.5, 1.5, 1.1)


@dataclass(frozen=True, slots=True)
class Case:
    """One answer. `text` holds the text of each choice."""

    answer: bytes
    account: Account = ACCOUNT
    time: int = MINUTE
    stream: bool = False
    texts: tuple[bytes, ...] = (TEXT,)


CASES: Final = {
    "a stream": Case(ANSWER, stream=True),
    "a stream with comments and the mark of its end": Case(FILLED, stream=True),
    "a whole answer": Case(WHOLE),
    "without a time": Case(WHOLE, time=0),
    "two choices": Case(WHOLE, replace(ACCOUNT, finish="stop length", text=TWO), texts=(TEXT, b"Nein.")),
    "a call of a tool": Case(WHOLE, replace(ACCOUNT, finish="tool_calls", text=NOTHING_SAID), texts=(b"",)),
    "every setting": Case(WHOLE, replace(ACCOUNT, sampling=EVERY_SETTING, max_tokens=1 << 20)),
    "from the session's memory": Case(WHOLE, replace(ACCOUNT, cached_tokens=128)),
    "ended by the time limit": Case(WHOLE, replace(ACCOUNT, finish="length", cut_short=True)),
}


def wish(time: int, nonce: str = encode_base64url(NONCE)) -> str:
    """The field of a request that asks for a receipt."""
    return f"1;time={time};nonce={nonce}"


def receipt_of(case: Case) -> bytes:
    """The receipt that the enclave gives."""
    digest = ContentDigest(stream=case.stream)
    digest.update(case.answer)
    issuer: Issuer = run().receipts.issuer(Wish(case.time, NONCE), REQUEST)
    return from_text(issuer.issue(digest.digest(), case.account))


def plain(value: Value) -> Json:
    """An item of CBOR with bytes in hexadecimal."""
    match value:
        case bytes():
            return value.hex()
        case list():
            return [plain(each) for each in value]
        case dict():
            return {str(name): plain(each) for name, each in value.items()}
        case str() | int():
            return value
        case _:
            raise RuntimeError("a receipt holds no such item")


def good_vector(case: Case) -> dict[str, Json]:
    """A receipt with all that it is made of."""
    data = receipt_of(case)
    signed = decode_receipt(data)
    return {
        "wish": wish(case.time),
        "nonce": NONCE.hex(),
        "request": REQUEST.hex(),
        "stream": case.stream,
        "answer": case.answer.hex(),
        "texts": [text.hex() for text in case.texts],
        "members": plain(decode_cbor(signed.payload)),
        "payload": signed.payload.hex(),
        "signed": form.to_sign(signed.payload).hex(),
        "signature": signed.signature.hex(),
        "receipt": data.hex(),
        "value": encode_base64url(data),
    }


def good_vectors() -> dict[str, Json]:
    """The enclave that signed, and its receipts."""
    enclave: dict[str, Json] = {
        "private_key": seed_bytes(1).hex(),
        "public_key": run().receipts.key.public_key().public_bytes_raw().hex(),
        "claims": run().claims.encode().decode("ascii"),
        "key_list": hardware.KEYS.hex(),
        "measurement": hardware.MEASUREMENT.hex(),
    }
    return {"enclave": enclave, "receipts": {name: good_vector(case) for name, case in CASES.items()}}


def members(data: bytes) -> list[Value]:
    """The four members of COSE_Sign1."""
    found = decode_cbor(data[1:])
    assert isinstance(found, list)
    return found


def with_payload(change: Callable[[dict[int | str, Value]], object]) -> bytes:
    """A receipt with another payload, properly signed."""
    signed = decode_receipt(receipt_of(CASES["a stream"]))
    payload = decode_cbor(signed.payload)
    assert isinstance(payload, dict)
    change(payload)
    encoded = encode_cbor(payload)
    return form.encode_signed(
        encoded, signed.public_key, signed.nonce, run().receipts.key.sign(form.to_sign(encoded))
    )


def with_member(place: int, value: Value) -> bytes:
    """A receipt with another member of COSE_Sign1."""
    found = members(receipt_of(CASES["a stream"]))
    found[place] = value
    return form.TAG + encode_cbor(found)


def refused_receipts() -> dict[str, bytes]:
    """What has not the form of a receipt."""
    good = receipt_of(CASES["a stream"])
    key = decode_receipt(good).public_key
    return {
        "empty": b"",
        "cut": good[:-1],
        "a byte behind it": good + b"\0",
        "without the tag": good[1:],
        "another tag": b"\xd1" + good[1:],
        "a length in a longer form": good[:1] + b"\x98\x04" + good[2:],
        "an indefinite length": good[:1] + b"\x9f" + good[2:] + b"\xff",
        "another algorithm": with_member(0, b"\xa1\x01\x26"),
        "without its key": with_member(1, {"nonce": NONCE}),
        "one more name in the header": with_member(1, {"key": key, "nonce": NONCE, "kid": b"1"}),
        "a signature of 63 bytes": with_member(3, bytes(63)),
        "one more name in the payload": with_payload(lambda found: found.update(user="me")),
        "one name fewer in the payload": with_payload(lambda found: found.pop("finish")),
        "version 2": with_payload(lambda found: found.update(version=2)),
        "a version that is true": with_payload(lambda found: found.update(version=True)),
        "a time below zero": with_payload(lambda found: found.update(time=-60)),
        "a fraction among the settings": with_payload(lambda found: found.update(sampling={"top_p": 0.5})),
        "a digest of 31 bytes": with_payload(lambda found: found.update(answer=bytes(31))),
        "three numbers of tokens": with_payload(lambda found: found.update(tokens=[1, 2, 3])),
        "more than 2048 bytes": with_payload(lambda found: found.update(sampling={"s": "0" * 2048})),
    }


def forged_receipts() -> dict[str, tuple[bytes, str]]:
    """What has the form, and the check that it fails first beside the evidence of the good ones."""
    other = decode_receipt(run(2).receipt())
    good = decode_receipt(receipt_of(CASES["a stream"]))
    return {
        "signed by another enclave": (run(2).receipt(), "receipt key"),
        "another enclave's signature": (with_member(3, other.signature), "signature"),
        "a changed payload": (
            with_member(2, good.payload.replace(b"dstop", b"dstoq")),
            "signature",
        ),
        "another model": (with_payload(lambda found: found.update(model=bytes(32))), "model"),
        "another measurement": (
            with_payload(lambda found: found.update(measurement=bytes(48))),
            "measurement",
        ),
        "another key list": (with_payload(lambda found: found.update(keys=bytes(32))), "key list"),
        "opened with another nonce": (
            with_member(1, {"key": good.public_key, "nonce": bytes(32)}),
            "nonce",
        ),
        "of another request": (with_payload(lambda found: found.update(request=bytes(32))), "request"),
        "of another answer": (
            with_payload(lambda found: found.update(answer=bytes(32), text=bytes(32))),
            "answer",
        ),
    }


def bad_vectors() -> dict[str, Json]:
    """Receipts that a reader has to refuse, and why. Request and answer are those of `a stream`."""
    refused: dict[str, Json] = {name: data.hex() for name, data in refused_receipts().items()}
    forged: dict[str, Json] = {
        name: {"receipt": data.hex(), "fails": check} for name, (data, check) in forged_receipts().items()
    }
    return {"refused": refused, "forged": forged}


def wish_vectors() -> dict[str, Json]:
    """Values of the field with which a receipt is asked for."""
    nonce = encode_base64url(NONCE)
    accepted: dict[str, Json] = {
        "1": {"time": 0, "nonce": ""},
        wish(0): {"time": 0, "nonce": NONCE.hex()},
        wish(MINUTE): {"time": MINUTE, "nonce": NONCE.hex()},
    }
    refused: list[Json] = [
        "",
        "0",
        "2",
        "1;",
        " 1",
        "1;time=60",
        f"1;nonce={nonce}",
        f"1;nonce={nonce};time=60",
    ]
    refused += [wish(61), wish(-60), wish(9007199254740960000), wish(9999999999999960)]
    refused += [
        wish(60, nonce[:-1]),
        wish(60, nonce[:-1] + "9"),
        wish(60, nonce + "="),
        wish(60, nonce + ";x=1"),
    ]
    refused += [f"1;time=060;nonce={nonce}", wish(60) + "\n"]
    return {"accepted": accepted, "refused": refused}


MAKERS: Final[dict[str, Callable[[], dict[str, Json]]]] = {
    "good.json": good_vectors,
    "bad.json": bad_vectors,
    "wishes.json": wish_vectors,
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
