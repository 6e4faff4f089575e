# SPDX-License-Identifier: Apache-2.0
"""What the tests of `wire` share."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from hypothesis import settings

from wire import ohttp
from wire.hpke import Aead, Kdf, Kem, PrivateKey, generate

VECTORS = Path(__file__).parents[2] / "vectors" / "wire"

# Derandomized, so that a failure is everybody's failure.
few = settings(max_examples=60, deadline=None, derandomize=True)

SUITES = ((Kdf.HKDF_SHA256, Aead.AES_256_GCM), (Kdf.HKDF_SHA256, Aead.AES_128_GCM))
REFUSALS = (ohttp.OpenError, ohttp.RequestError, ohttp.Truncated)


def new_key(
    kem: Kem = Kem.X25519, suites: tuple[tuple[Kdf, Aead], ...] = SUITES
) -> tuple[PrivateKey, ohttp.KeyConfiguration]:
    """Return a private key and the configuration that offers it as number 7."""
    private_key = generate(kem)
    return private_key, ohttp.KeyConfiguration(7, kem, private_key.public_key, suites)


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Return the data cut at these places, wherever they lie modulo its length."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def open_request(
    body: bytes,
    private_key: PrivateKey,
    form: ohttp.Format = ohttp.Format.CHUNKED,
    cuts: Iterable[int] = (),
) -> tuple[ohttp.RequestOpener, list[bytes]]:
    """Return the opener of a whole body after its end, and what it opened."""
    head = ohttp.RequestHead.decode(body[: ohttp.HEAD_SIZE])
    start = ohttp.HEAD_SIZE + head.suite.kem.enc_size
    opener = ohttp.RequestOpener(head, form, private_key, body[ohttp.HEAD_SIZE : start])
    opened = [chunk for piece in split(body[start:], cuts) for chunk in opener.receive(piece)]
    return opener, opened + opener.end()


def open_response(body: bytes, opener: ohttp.ResponseOpener, cuts: Iterable[int] = ()) -> list[bytes]:
    """Return what the opener makes of a whole body."""
    opened = [chunk for piece in split(body, cuts) for chunk in opener.receive(piece)]
    return opened + opener.end()


def seal(sealer: ohttp.RequestSealer | ohttp.ResponseSealer, chunks: Sequence[bytes]) -> list[bytes]:
    """Return the sealed chunks, the last of them sealed as such."""
    return [sealer.seal(chunk, last=number == len(chunks)) for number, chunk in enumerate(chunks, 1)]
