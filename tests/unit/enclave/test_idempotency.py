# SPDX-License-Identifier: Apache-2.0
"""Which requests were taken already."""

import pytest

from enclave.idempotency import RepeatedError, TakenRequests
from enclave.session import Request

NAME = "AAAAAAAAAAAAAAAAAAAAAA"
SESSION, OTHER_SESSION = bytes(16), bytes([1]) * 16


def named(name: str, *, token: str = "", session: bytes = b"") -> Request:
    """A request with an idempotency key."""
    fields = {"idempotency-key": name} | ({"authorization": token} if token else {})
    return Request("POST", "/", fields, b"", session)


def repeated(taken: TakenRequests, request: Request) -> bool:
    """Whether the request was taken before; it is now."""
    try:
        taken.take(request)
    except RepeatedError:
        return True
    return False


def test_a_second_request_of_a_name_is_refused_in_another_session_too() -> None:
    taken = TakenRequests()
    taken.take(named(NAME, session=SESSION))
    for again in (named(NAME, session=SESSION), named(NAME, session=OTHER_SESSION), named(NAME)):
        assert repeated(taken, again)
    assert not repeated(taken, named("B" * 22))


def test_requests_without_a_name_are_never_the_same() -> None:
    taken = TakenRequests()
    for _ in range(3):
        taken.take(Request("POST", "/", {}, b""))
    assert taken.size == 0


@pytest.mark.parametrize("token", ["Bearer one", "bearer one", "BEARER  one"])
def test_a_token_names_a_client(token: str) -> None:
    taken = TakenRequests()
    taken.take(named("1", token="Bearer one"))
    assert repeated(taken, named("1", token=token, session=SESSION))
    assert not repeated(taken, named("1", token="Bearer two"))


def test_a_name_that_others_could_choose_too_is_of_one_session() -> None:
    taken = TakenRequests()
    taken.take(named("1", session=SESSION))
    assert repeated(taken, named("1", session=SESSION))
    assert not repeated(taken, named("1", session=OTHER_SESSION))
    assert not repeated(taken, named("1"))
    assert not repeated(taken, named("1"))


def test_what_is_remembered_is_bounded_for_each_client_and_in_all() -> None:
    taken = TakenRequests(per_identity=3, in_all=5)
    for number in range(4):
        taken.take(named(str(number), token="Bearer a"))
    assert taken.size == 3
    assert not repeated(taken, named("0", token="Bearer a"))
    assert repeated(taken, named("3", token="Bearer a"))
    for number in range(3):
        taken.take(named(str(number), token="Bearer b"))
    assert taken.size == 5
    assert repeated(taken, named("0", token="Bearer b"))
    assert not repeated(taken, named("2", token="Bearer a"))  # the silent one lost its oldest


def test_a_token_is_not_kept() -> None:
    taken = TakenRequests()
    taken.take(named(NAME, token="Bearer secret"))
    assert "secret" not in repr(taken)
    assert b"secret" not in str(vars(taken)).encode()
