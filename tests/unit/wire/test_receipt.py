# SPDX-License-Identifier: Apache-2.0
"""Receipts as bytes: their encoding beside a library's, and what is digested of an answer."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from attestation.results.values import encode_cbor
from wire.receipt import ContentDigest, Item, encode_item

ITEMS = st.recursive(
    st.integers(0, 2**64 - 1) | st.text(max_size=300) | st.binary(max_size=300),
    lambda items: st.lists(items, max_size=5) | st.dictionaries(st.text(max_size=30), items, max_size=30),
    max_leaves=30,
)


@given(item=ITEMS)
def test_items_are_encoded_as_the_library_encodes_them(item: Item) -> None:
    assert encode_item(item) == encode_cbor(item)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


EVENTS = b"data: a\n\ndata: b\n\n"


@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_a_stream_has_one_digest_however_it_is_cut_and_filled(cuts: list[int]) -> None:
    stream = b":   \n\ndata: a\n\n: a-ohttp-receipt xyz\n\n:\n\ndata: b\n\ndata: [DONE]\n\n:  \n\n"
    digest, start = ContentDigest(stream=True), 0
    for cut in [*sorted(cuts), len(stream)]:
        digest.update(stream[start:cut])
        start = max(start, cut)
    assert digest.digest() == sha256(EVENTS).digest()
    assert digest.receipt == "xyz"


def test_a_whole_answer_is_digested_as_it_is() -> None:
    digest = ContentDigest(stream=False)
    digest.update(b":a\n\n")
    digest.update(b"data: [DONE]\n\n")
    assert digest.digest() == sha256(b":a\n\ndata: [DONE]\n\n").digest()
