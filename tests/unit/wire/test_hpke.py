# SPDX-License-Identifier: Apache-2.0
"""HPKE against other implementations, and against bad input."""

import pyhpke
import pytest
from cryptography.hazmat.primitives import hpke as oracle
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from wire import hpke
from wire.hpke import Aead, Kdf, Kem, Suite

INFO = b"information for both sides"
MESSAGES = [(b"", b""), (b"first", b"aad 1"), (b"second" * 400, b""), (b"\0", b"aad 3")]
ORACLE_AEADS = {
    Aead.AES_128_GCM: oracle.AEAD.AES_128_GCM,
    Aead.AES_256_GCM: oracle.AEAD.AES_256_GCM,
    Aead.CHACHA20_POLY1305: oracle.AEAD.CHACHA20_POLY1305,
}
# RFC 7748's points of low order, and zero.
LOW_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ec" + "ff" * 30 + "7f",
]


def suite_of(kem: Kem, aead: Aead = Aead.AES_256_GCM) -> Suite:
    return Suite(kem, Kdf.HKDF_SHA256, aead)


def pyhpke_suite(aead: Aead) -> pyhpke.CipherSuite:
    return pyhpke.CipherSuite.new(
        pyhpke.KEMId.DHKEM_X25519_HKDF_SHA256, pyhpke.KDFId.HKDF_SHA256, pyhpke.AEADId(aead.value)
    )


@pytest.mark.parametrize("aead", Aead)
def test_pyhpke_opens_what_we_seal(aead: Aead) -> None:
    theirs = X25519PrivateKey.generate()
    enc, sender = hpke.setup_sender(suite_of(Kem.X25519, aead), theirs.public_key().public_bytes_raw(), INFO)
    recipient = pyhpke_suite(aead).create_recipient_context(
        enc, pyhpke.KEMKey.from_pyca_cryptography_key(theirs), INFO
    )
    for plaintext, aad in MESSAGES:
        assert recipient.open(sender.seal(plaintext, aad), aad) == plaintext
    assert recipient.export(b"label", 48) == sender.export(b"label", 48)


@pytest.mark.parametrize("aead", Aead)
def test_we_open_what_pyhpke_seals(aead: Aead) -> None:
    ours = hpke.generate(Kem.X25519)
    enc, sender = pyhpke_suite(aead).create_sender_context(
        pyhpke.KEMKey.from_pyca_cryptography_key(X25519PublicKey.from_public_bytes(ours.public_key)), INFO
    )
    recipient = hpke.setup_recipient(suite_of(Kem.X25519, aead), ours, enc, INFO)
    for plaintext, aad in MESSAGES:
        assert recipient.open(sender.seal(plaintext, aad), aad) == plaintext
    assert recipient.export(b"label", 16) == sender.export(b"label", 16)


@pytest.mark.parametrize("aead", Aead)
def test_cryptography_opens_and_seals_the_first_message_with_x25519(aead: Aead) -> None:
    theirs = oracle.Suite(oracle.KEM.X25519, oracle.KDF.HKDF_SHA256, ORACLE_AEADS[aead])
    suite = suite_of(Kem.X25519, aead)
    their_key = X25519PrivateKey.generate()
    enc, sender = hpke.setup_sender(suite, their_key.public_key().public_bytes_raw(), INFO)
    assert theirs.decrypt(enc + sender.seal(b"to them"), their_key, INFO) == b"to them"

    our_key = hpke.generate(Kem.X25519)
    sealed = theirs.encrypt(b"to us", X25519PublicKey.from_public_bytes(our_key.public_key), INFO)
    size = Kem.X25519.enc_size
    assert hpke.setup_recipient(suite, our_key, sealed[:size], INFO).open(sealed[size:]) == b"to us"


@pytest.mark.parametrize("aead", Aead)
def test_cryptography_opens_and_seals_the_first_message_with_x_wing(aead: Aead) -> None:
    theirs = oracle.Suite(oracle.KEM.MLKEM768_X25519, oracle.KDF.HKDF_SHA256, ORACLE_AEADS[aead])
    suite = suite_of(Kem.X_WING, aead)
    ml_kem, x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    public_key = ml_kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    enc, sender = hpke.setup_sender(suite, public_key, INFO)
    their_key = oracle.MLKEM768X25519PrivateKey(ml_kem, x25519)
    assert theirs.decrypt(enc + sender.seal(b"to them"), their_key, INFO) == b"to them"

    our_key = hpke.generate(Kem.X_WING)
    our_public_key = oracle.MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(our_key.public_key[:1184]),
        X25519PublicKey.from_public_bytes(our_key.public_key[1184:]),
    )
    sealed = theirs.encrypt(b"to us", our_public_key, INFO)
    size = Kem.X_WING.enc_size
    assert hpke.setup_recipient(suite, our_key, sealed[:size], INFO).open(sealed[size:]) == b"to us"


@pytest.mark.parametrize("kem", Kem)
def test_sizes_are_those_of_the_keys_made(kem: Kem) -> None:
    private_key = hpke.generate(kem)
    _, enc = hpke.encapsulate(kem, private_key.public_key)
    assert (len(private_key.public_key), len(enc)) == (kem.public_key_size, kem.enc_size)
    assert private_key.kem is kem
    assert hpke.generate(kem).public_key != private_key.public_key


def test_failed_open_leaves_the_message_next() -> None:
    suite = suite_of(Kem.X25519)
    private_key = hpke.generate(Kem.X25519)
    enc, sender = hpke.setup_sender(suite, private_key.public_key, INFO)
    recipient = hpke.setup_recipient(suite, private_key, enc, INFO)
    first, second = sender.seal(b"1", b"a"), sender.seal(b"2")
    for ciphertext, aad in ((second, b""), (first, b""), (first[:-1], b"a"), (b"", b"a")):
        with pytest.raises(hpke.OpenError):
            recipient.open(ciphertext, aad)
    assert [recipient.open(first, b"a"), recipient.open(second)] == [b"1", b"2"]
    with pytest.raises(hpke.OpenError):
        recipient.open(second)


def test_open_error_tells_nothing() -> None:
    private_key = hpke.generate(Kem.X25519)
    with pytest.raises(hpke.OpenError) as caught:
        private_key.decapsulate(bytes(32))
    assert str(caught.value) == "cannot be opened"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_other_info_or_algorithm_opens_nothing() -> None:
    private_key = hpke.generate(Kem.X25519)
    enc, sender = hpke.setup_sender(suite_of(Kem.X25519), private_key.public_key, INFO)
    ciphertext = sender.seal(b"secret")
    chacha = suite_of(Kem.X25519, Aead.CHACHA20_POLY1305)
    for suite, info in ((suite_of(Kem.X25519), b"other"), (chacha, INFO)):
        with pytest.raises(hpke.OpenError):
            hpke.setup_recipient(suite, private_key, enc, info).open(ciphertext)


@pytest.mark.parametrize("kem", Kem)
def test_key_of_another_kind_opens_nothing(kem: Kem) -> None:
    other = Kem.X_WING if kem is Kem.X25519 else Kem.X25519
    private_key = hpke.generate(kem)
    _, enc = hpke.encapsulate(kem, private_key.public_key)
    for sent in (enc, bytes(other.enc_size)):
        with pytest.raises(hpke.OpenError):
            hpke.setup_recipient(suite_of(other), private_key, sent, INFO)


@pytest.mark.parametrize("kem", Kem)
@pytest.mark.parametrize("change", [-1, 1])
def test_enc_of_another_size_opens_nothing(kem: Kem, change: int) -> None:
    private_key = hpke.generate(kem)
    _, enc = hpke.encapsulate(kem, private_key.public_key)
    for bad in ((enc + b"\0")[: len(enc) + change], b""):
        with pytest.raises(hpke.OpenError):
            private_key.decapsulate(bad)


@pytest.mark.parametrize("kem", Kem)
@pytest.mark.parametrize("point", LOW_ORDER)
def test_point_of_low_order_is_refused_on_both_sides(kem: Kem, point: str) -> None:
    private_key = hpke.generate(kem)
    _, enc = hpke.encapsulate(kem, private_key.public_key)
    with pytest.raises(hpke.OpenError):
        private_key.decapsulate(enc[:-32] + bytes.fromhex(point))
    with pytest.raises(hpke.PublicKeyError):
        hpke.check_public_key(kem, private_key.public_key[:-32] + bytes.fromhex(point))


@pytest.mark.parametrize("kem", Kem)
def test_enc_is_not_malleable(kem: Kem) -> None:
    """The ignored top bit of a point, and another form of the same point, change the keys (wire.md 3.3)."""
    private_key = hpke.generate(kem)
    enc, sender = hpke.setup_sender(suite_of(kem), private_key.public_key, INFO)
    ciphertext = sender.seal(b"secret")
    for position, mask in ((-1, 0x80), (0, 1), (len(enc) // 2, 4)):
        changed = bytearray(enc)
        changed[position] ^= mask
        with pytest.raises(hpke.OpenError):
            hpke.setup_recipient(suite_of(kem), private_key, bytes(changed), INFO).open(ciphertext)


def test_non_canonical_point_is_another_enc() -> None:
    # 2^255 - 19 + 9 is the base point once more.
    private_key = hpke.generate(Kem.X25519)
    canonical = bytes([9]) + bytes(31)
    non_canonical = (2**255 - 10).to_bytes(32, "little")
    assert private_key.decapsulate(canonical) != private_key.decapsulate(non_canonical)


@pytest.mark.parametrize("kem", Kem)
@pytest.mark.parametrize("change", [-1, 1])
def test_public_key_of_another_size_is_refused(kem: Kem, change: int) -> None:
    public_key = hpke.generate(kem).public_key
    with pytest.raises(hpke.PublicKeyError):
        hpke.setup_sender(suite_of(kem), (public_key + b"\0")[: len(public_key) + change], INFO)


def test_ml_kem_key_that_is_not_reduced_is_refused() -> None:
    public_key = b"\xff" * 1184 + hpke.generate(Kem.X25519).public_key
    with pytest.raises(hpke.PublicKeyError):
        hpke.encapsulate(Kem.X_WING, public_key)


def test_context_keys_are_not_shown() -> None:
    keys = hpke.derive_context_keys(suite_of(Kem.X25519), bytes(32), INFO)
    assert repr(keys) == "ContextKeys()"
