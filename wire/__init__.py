# SPDX-License-Identifier: Apache-2.0
"""What crosses the boundary between client and enclave: pure functions of bytes.

varint: QUIC's variable-length integers
hkdf: key derivation, plain and with HPKE's labels
aead: authenticated encryption under counting nonces
kem: key encapsulation, classical and hybrid post-quantum
hpke: RFC 9180 contexts of the three
key_configuration: the keys an enclave offers, and their lists
chunks: how sealed messages are laid out in a body, whole or in chunks
ohttp: Oblivious HTTP over these: requests, responses and their keys
http_message: what an HTTP message inside the encryption may hold
bhttp_decoder: Binary HTTP, read as it arrives
bhttp: Binary HTTP, written; offers the two above too
merkle: the tree under which one hardware report serves many session requests
strict_json: JSON as protocol documents use it
session: how a session is asked for, and what is given
receipt: what an enclave signs about one answer
padding: how long a message may be seen to be
shaping: what a stream may be seen to be: frames at a tick, or buckets
frames: the heads that host and enclave exchange on the link
"""
