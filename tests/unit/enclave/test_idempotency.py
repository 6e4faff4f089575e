# SPDX-License-Identifier: Apache-2.0
"""Which requests were taken already."""

import pytest

from enclave.api.caller import caller_of
from enclave.idempotency import RepeatedError, TakenRequests
from enclave.session import Request

NAME = "AAAAAAAAAAAAAAAAAAAAAA"
ONE, TWO = "1" * 22, "2" * 22
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


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_a_token_names_a_client(scheme: str) -> None:
    taken = TakenRequests()
    taken.take(named("1", token=f"Bearer {ONE}"))
    assert repeated(taken, named("1", token=f"{scheme} {ONE}", session=SESSION))
    assert not repeated(taken, named("1", token=f"Bearer {TWO}"))


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer ", "Bearer -", f"Bearer {ONE[1:]}", f"Basic {ONE}"])
def test_a_token_that_many_may_have_names_nobody(token: str) -> None:
    taken = TakenRequests()
    taken.take(named("1", token=token, session=SESSION))
    assert repeated(taken, named("1", token=token, session=SESSION))
    assert not repeated(taken, named("1", token=token, session=OTHER_SESSION))
    asked = [caller_of(named("1", token=token, session=session)) for session in (SESSION, OTHER_SESSION)]
    assert asked[0].identity != asked[1].identity
    assert caller_of(named("1", token=token)).identity != caller_of(named("1", token=token)).identity


def test_places_go_to_whoever_has_the_token_in_whatever_session() -> None:
    asked = [caller_of(named("1", token=f"Bearer {ONE}", session=session)) for session in (SESSION, b"")]
    assert asked[0].identity == asked[1].identity
    assert asked[0].identity != caller_of(named("1", token=f"Bearer {TWO}", session=SESSION)).identity


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
        taken.take(named(str(number), token=f"Bearer {ONE}"))
    assert taken.size == 3
    assert not repeated(taken, named("0", token=f"Bearer {ONE}"))
    assert repeated(taken, named("3", token=f"Bearer {ONE}"))
    for number in range(3):
        taken.take(named(str(number), token=f"Bearer {TWO}"))
    assert taken.size == 5
    assert repeated(taken, named("0", token=f"Bearer {TWO}"))
    assert not repeated(taken, named("2", token=f"Bearer {ONE}"))  # the silent one lost its oldest


def test_a_token_is_not_kept() -> None:
    taken = TakenRequests()
    taken.take(named(NAME, token="Bearer a-secret-of-22-characters"))
    assert "a-secret" not in repr(taken)
    assert b"a-secret" not in str(vars(taken)).encode()
