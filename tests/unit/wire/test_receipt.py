# SPDX-License-Identifier: Apache-2.0
"""Receipts as bytes: how one is asked for, and their encoding beside a library's."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.results.values import encode_cbor
from wire.receipt import ContentDigest, Item, ReceiptFormError, Wish, encode_item, parse_wish

NONCE = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
ITEMS = st.recursive(
    st.integers(0, 2**64 - 1) | st.text(max_size=300) | st.binary(max_size=300),
    lambda items: st.lists(items, max_size=5) | st.dictionaries(st.text(max_size=30), items, max_size=30),
    max_leaves=30,
)


@given(item=ITEMS)
def test_items_are_encoded_as_the_library_encodes_them(item: Item) -> None:
    assert encode_item(item) == encode_cbor(item)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_receipt_is_asked_for_with_and_without_a_time() -> None:
    assert parse_wish("1") == Wish(0, b"")
    assert parse_wish(f"1;time=1790000040;nonce={NONCE}") == Wish(1_790_000_040, bytes(range(32)))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "2",
        "1;",
        f"1;nonce={NONCE}",
        "1;time=60",
        f"1;time=61;nonce={NONCE}",
        f"1;time=060;nonce={NONCE}",
        f"1;time=9007199254740960000;nonce={NONCE}",
        f"1;time=9999999999999960;nonce={NONCE}",
        f"1;time=60;nonce={NONCE[:-1]}",
        f"1;time=60;nonce={NONCE[:-1]}9",
        f"1;time=60;nonce={NONCE};x=1",
        f"1;time=60;nonce={NONCE}\n",
    ],
)
def test_other_forms_are_refused(value: str) -> None:
    with pytest.raises(ReceiptFormError):
        parse_wish(value)


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
