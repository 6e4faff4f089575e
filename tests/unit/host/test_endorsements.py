# SPDX-License-Identifier: Apache-2.0
"""Fetching endorsements from services that behave as AMD's and Intel's do, and from ones that do not."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TypeVar

import pytest

from host import endorsement_requests as requests
from host.endorsement_fetch import BusyError, FetchError, NotThereError, SystemWorld, retry_after
from host.endorsement_requests import (
    CertificateAuthority,
    EvaluationNumber,
    PatchLevels,
    Product,
    Request,
    SigningKey,
    Update,
)
from host.endorsement_settings import Settings
from host.endorsements import Endorsements, Source, open_endorsements
from tests.fakes.vendors import DER_TYPE, Mood, Page, Vendors, World, der, made_up_collateral, running_vendors

NOW = 1_790_000_000.0
DAY = 86_400
CHIP = bytes(range(1, 65))
LEVELS = PatchLevels(bootloader=3, tee=0, snp=24, microcode=213)
LEAF, ASK, ARK = der(b"leaf"), der(b"ask"), der(b"ark")
LEAF_TARGET = f"/vcek/v1/Milan/{CHIP.hex()}?blSPL=3&teeSPL=0&snpSPL=24&ucodeSPL=213"
CHAIN = requests.amd_chain(Product.MILAN, SigningKey.VCEK)
LIST = requests.amd_revocations(Product.MILAN, SigningKey.VCEK)
IDENTITY = requests.qe_identity(Update.STANDARD)
FMSPC = bytes.fromhex("90C06F000000")

Result = TypeVar("Result")


@pytest.fixture
def world() -> World:
    return World(NOW)


@pytest.fixture
def vendors(world: World) -> Iterator[Vendors]:
    with running_vendors(world.now) as server:
        server.serve_amd("Milan", "vcek", (ASK, ARK), der(b"list"))
        server.serve_intel(made_up_collateral(), "90C06F000000")
        server.pages[LEAF_TARGET] = Page(LEAF, DER_TYPE)
        yield server


def settings(
    vendors: Vendors, cache: Path | None = None, bundle: Path | None = None, *, offline: bool = False
) -> Settings:
    return Settings(
        kds_url=vendors.url,
        pcs_url=vendors.url,
        intel_certificates_url=vendors.url,
        cache=cache,
        bundle=bundle,
        offline=offline,
        timeout_seconds=5.0,
        deadline_seconds=10.0,
    )


def ask(chosen: Settings, world: World, question: Callable[[Endorsements], Awaitable[Result]]) -> Result:
    """What a fresh host answers to a question."""

    async def run() -> Result:
        async with open_endorsements(chosen, world) as host:
            return await question(host)

    return asyncio.run(run())


async def arrival(vendors: Vendors, number: int) -> None:
    """Wait until so many requests are at the server."""
    await asyncio.to_thread(vendors.wait_for, number)


def get(chosen: Settings, world: World, request: Request = CHAIN) -> bytes:
    return ask(chosen, world, lambda host: host.get(request)).content


def test_a_chip_gets_leaf_chain_and_list(vendors: Vendors, world: World) -> None:
    found = ask(settings(vendors), world, lambda host: host.snp(Product.MILAN, CHIP, LEVELS))
    assert found.chain == (LEAF, ASK, ARK)
    assert found.revocations == der(b"list")
    assert not found.stale
    assert set(vendors.asked) == {"/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl", LEAF_TARGET}


def test_a_leaf_that_is_there_is_not_asked_for(vendors: Vendors, world: World) -> None:
    found = ask(
        settings(vendors), world, lambda host: host.snp(Product.MILAN, CHIP, LEVELS, leaf=der(b"own"))
    )
    assert found.chain[0] == der(b"own")
    assert LEAF_TARGET not in vendors.asked


def test_a_provider_gets_its_own_chain(vendors: Vendors, world: World) -> None:
    vendors.serve_amd("Genoa", "vlek", (der(b"asvk"), ARK), der(b"list"))
    vendors.pages["/vlek/v1/Genoa/cert?blSPL=3&teeSPL=0&snpSPL=24&ucodeSPL=213"] = Page(LEAF, DER_TYPE)
    found = ask(settings(vendors), world, lambda host: host.snp_of_provider(Product.GENOA, LEVELS))
    assert found.chain == (LEAF, der(b"asvk"), ARK)


@pytest.mark.parametrize("evaluation", [Update.STANDARD, Update.EARLY, EvaluationNumber(17)])
def test_a_platform_gets_its_collateral_octet_by_octet(
    vendors: Vendors, world: World, evaluation: requests.Evaluation
) -> None:
    expected = made_up_collateral()
    found = ask(
        settings(vendors), world, lambda host: host.tdx(FMSPC, CertificateAuthority.PLATFORM, evaluation)
    )
    assert found.tcb_info == expected["tcb_info"]
    assert found.qe_identity == expected["qe_identity"]
    assert found.tcb_info_signature.hex() == expected["tcb_info_signature"]
    assert found.pck_revocations.hex() == expected["pck_crl"]
    assert found.root_revocations.hex() == expected["root_ca_crl"]
    assert found.tcb_info_chain.decode() == expected["tcb_info_issuer_chain"]
    assert len(vendors.asked) == 4


def test_an_unknown_evaluation_number_is_not_there(vendors: Vendors, world: World) -> None:
    with pytest.raises(NotThereError):
        get(settings(vendors), world, requests.qe_identity(EvaluationNumber(16)))


def test_an_answer_is_kept_and_reused_while_it_is_young(
    vendors: Vendors, world: World, tmp_path: Path
) -> None:
    chosen = settings(vendors, tmp_path / "cache")
    first = ask(chosen, world, lambda host: host.get(LIST))
    world.moment += DAY
    second = ask(chosen, world, lambda host: host.get(LIST))
    assert (first.source, second.source) == (Source.VENDOR, Source.CACHE)
    assert (second.content, second.fetched_at) == (first.content, int(NOW))
    assert len(vendors.asked) == 1
    world.moment += 1
    assert ask(chosen, world, lambda host: host.get(LIST)).source is Source.VENDOR
    assert len(vendors.asked) == 2


def test_issuer_chains_are_kept_with_the_answer(vendors: Vendors, world: World, tmp_path: Path) -> None:
    chosen = settings(vendors, tmp_path)
    first, second = (ask(chosen, world, lambda host: host.get(IDENTITY)) for _ in range(2))
    assert first.chain == second.chain != b""
    assert second.source is Source.CACHE


def test_an_entry_from_the_future_is_not_young(vendors: Vendors, world: World, tmp_path: Path) -> None:
    chosen = settings(vendors, tmp_path)
    get(chosen, world)
    world.moment -= 10
    assert ask(chosen, world, lambda host: host.get(CHAIN)).source is Source.VENDOR
    vendors.statuses = [(500, {})] * 4
    world.moment -= 100
    with pytest.raises(FetchError):
        get(chosen, world)


def test_an_old_answer_is_marked_while_the_service_fails(
    vendors: Vendors, world: World, tmp_path: Path
) -> None:
    chosen = settings(vendors, tmp_path)
    get(chosen, world, LIST)
    world.moment += 2 * DAY
    vendors.statuses = [(500, {})] * 4
    found = ask(chosen, world, lambda host: host.get(LIST))
    assert found.stale
    assert (found.content, found.fetched_at) == (der(b"list"), int(NOW))


def test_one_stale_part_marks_the_whole(vendors: Vendors, world: World, tmp_path: Path) -> None:
    chosen = settings(vendors, tmp_path)
    ask(chosen, world, lambda host: host.snp(Product.MILAN, CHIP, LEVELS))
    world.moment += 2 * DAY
    vendors.statuses = [(500, {})] * 4
    found = ask(chosen, world, lambda host: host.snp(Product.MILAN, CHIP, LEVELS))
    assert found.stale
    assert found.chain == (LEAF, ASK, ARK)


def test_an_answer_can_be_too_old_to_hand_out(vendors: Vendors, world: World, tmp_path: Path) -> None:
    chosen = settings(vendors, tmp_path)
    get(chosen, world, LIST)
    world.moment += chosen.max_stale_seconds + 1
    vendors.mood = Mood.CLOSING
    with pytest.raises(FetchError):
        get(chosen, world, LIST)


def test_a_service_that_says_not_there_outweighs_an_old_answer(
    vendors: Vendors, world: World, tmp_path: Path
) -> None:
    chosen = settings(vendors, tmp_path)
    get(chosen, world, LIST)
    world.moment += 2 * DAY
    vendors.pages.clear()
    with pytest.raises(NotThereError):
        get(chosen, world, LIST)
    assert len(vendors.asked) == 2


def test_a_cache_that_cannot_be_written_loses_no_answer(
    vendors: Vendors, world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"

    async def question(host: Endorsements) -> bytes:
        folder.rmdir()
        return (await host.get(CHAIN)).content

    assert (
        ask(settings(vendors, folder), world, question) == vendors.pages["/vcek/v1/Milan/cert_chain"].content
    )


def test_equal_questions_at_the_same_time_are_asked_once(vendors: Vendors, world: World) -> None:
    vendors.hold = True

    async def question(host: Endorsements) -> list[bytes]:
        waiting = [asyncio.create_task(host.get(CHAIN)) for _ in range(20)]
        other = asyncio.create_task(host.get(LIST))
        await arrival(vendors, 2)
        waiting[0].cancel()  # who asked first gives up; the others still get their answer
        vendors.released.set()
        await other
        return [found.content for found in await asyncio.gather(*waiting[1:])]

    assert len(set(ask(settings(vendors), world, question))) == 1
    assert sorted(vendors.asked) == ["/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"]


def test_a_failure_that_nobody_waits_for_is_no_noise(vendors: Vendors, world: World) -> None:
    vendors.pages.clear()
    vendors.hold = True

    async def question(host: Endorsements) -> None:
        waiting = asyncio.create_task(host.get(CHAIN))
        await arrival(vendors, 1)
        waiting.cancel()
        vendors.released.set()
        with pytest.raises(FetchError):
            await host.get(CHAIN)

    ask(settings(vendors), world, question)
    assert len(vendors.asked) == 1


def test_a_failure_is_not_remembered(vendors: Vendors, world: World) -> None:
    async def question(host: Endorsements) -> bytes:
        vendors.mood = Mood.HTML
        with pytest.raises(FetchError):
            await host.get(CHAIN)
        vendors.mood = Mood.HONEST
        return (await host.get(CHAIN)).content

    assert ask(settings(vendors), world, question)


def test_patience_is_kept_when_asked_for(vendors: Vendors, world: World) -> None:
    vendors.allowance, vendors.interval_seconds, vendors.retry_after = 1, 30.0, "31"
    chosen = settings(vendors)

    async def question(host: Endorsements) -> None:
        await host.get(CHAIN)
        await host.get(LIST)

    ask(chosen, world, question)
    assert world.slept == [31.0]
    assert len(vendors.asked) == 3


def test_patience_as_a_date_is_kept(vendors: Vendors, world: World) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + 7, UTC), usegmt=True)
    vendors.statuses = [(503, {"Retry-After": date})]
    get(settings(vendors), world)
    assert world.slept == [7.0]


def test_without_a_word_the_waits_double_and_differ(vendors: Vendors, world: World) -> None:
    vendors.statuses = [(429, {}), (500, {}), (502, {"Retry-After": "9"})]
    world.chance = 1.0
    get(settings(vendors), world)
    assert world.slept == [1.5, 3.0, 6.0]


def test_attempts_end(vendors: Vendors, world: World) -> None:
    vendors.statuses = [(503, {})] * 10
    with pytest.raises(FetchError, match="patience"):
        get(settings(vendors), world)
    assert len(vendors.asked) == 4
    assert len(world.slept) == 3


def test_a_service_that_wants_long_patience_is_left_alone(vendors: Vendors, world: World) -> None:
    vendors.statuses = [(429, {"Retry-After": "600"})]

    async def question(host: Endorsements) -> None:
        with pytest.raises(BusyError, match="600 s"):
            await host.get(CHAIN)
        with pytest.raises(BusyError, match="more"):  # another question, but the same service
            await host.get(LIST)
        assert len(vendors.asked) == 1
        await host.get(IDENTITY)  # another service
        world.moment += 601
        await host.get(CHAIN)

    ask(settings(vendors), world, question)
    assert world.slept == []


def test_no_service_can_ask_for_patience_for_ever(vendors: Vendors, world: World) -> None:
    vendors.statuses = [(429, {"Retry-After": "99999999999999999999"})]

    async def question(host: Endorsements) -> bytes:
        with pytest.raises(BusyError):
            await host.get(CHAIN)
        world.moment += 3601
        return (await host.get(CHAIN)).content

    assert ask(settings(vendors), world, question)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("²", None),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 10.0),
        ("Wed, 31 Dec 1969 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 99999 00:00:10 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, expected: float | None) -> None:
    assert retry_after(value, 0.0) == expected


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 403, 418, 204, 206])
def test_other_statuses_are_no_answer_and_not_repeated(vendors: Vendors, world: World, status: int) -> None:
    vendors.statuses = [(status, {})]
    with pytest.raises(FetchError, match=f"status {status}"):
        get(settings(vendors), world)
    assert len(vendors.asked) == 1


def test_a_redirect_leads_nowhere(vendors: Vendors, world: World) -> None:
    with running_vendors(world.now) as elsewhere:
        elsewhere.pages = dict(vendors.pages)
        vendors.mood, vendors.elsewhere = Mood.REDIRECTING, elsewhere.url
        with pytest.raises(FetchError, match="302"):
            get(settings(vendors), world)
        assert elsewhere.asked == []


@pytest.mark.parametrize("mood", [Mood.HTML, Mood.COMPRESSED])
def test_an_answer_that_declares_itself_otherwise_is_not_read(
    vendors: Vendors, world: World, mood: Mood
) -> None:
    vendors.mood = mood
    with pytest.raises(FetchError, match="expected"):
        get(settings(vendors), world)
    assert len(vendors.asked) == 1


@pytest.mark.parametrize("mood", [Mood.TRUNCATED, Mood.CLOSING])
def test_an_answer_that_breaks_off_is_asked_for_again(
    vendors: Vendors, world: World, mood: Mood, tmp_path: Path
) -> None:
    vendors.mood = mood
    with pytest.raises(FetchError, match="no answer"):
        get(settings(vendors, tmp_path), world)
    assert len(vendors.asked) == 4
    assert list(tmp_path.iterdir()) == []


def test_an_answer_without_end_is_cut_off(vendors: Vendors, world: World, tmp_path: Path) -> None:
    vendors.mood = Mood.OVERSIZED
    with pytest.raises(FetchError, match="more than 16384 bytes"):
        get(settings(vendors, tmp_path), world)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mood", "timeout"), [(Mood.SLOW, 0.05), (Mood.DRIPPING, 5.0)])
def test_a_slow_answer_is_not_waited_for(vendors: Vendors, world: World, mood: Mood, timeout: float) -> None:
    vendors.mood = mood
    chosen = Settings(kds_url=vendors.url, attempts=2, timeout_seconds=timeout, deadline_seconds=0.2)
    with pytest.raises(FetchError, match="no answer"):
        get(chosen, world)
    assert len(vendors.asked) == 2


def test_a_service_that_is_not_there_at_all(vendors: Vendors, world: World) -> None:
    chosen = Settings(kds_url="http://127.0.0.1:1", attempts=1)
    with pytest.raises(FetchError, match="no answer"):
        get(chosen, world)
    assert vendors.asked == []


@pytest.mark.parametrize("content", [b"", b"<html>", der(b"x") + b"\0", der(b"x")[:-1]])
def test_content_of_another_shape_is_no_answer(
    vendors: Vendors, world: World, content: bytes, tmp_path: Path
) -> None:
    vendors.pages["/vcek/v1/Milan/crl"] = Page(content, DER_TYPE)
    with pytest.raises(FetchError, match="DER"):
        get(settings(vendors, tmp_path), world, LIST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chain", [None, "", "%00", "not%20PEM", "A" * 60_000])
def test_an_issuer_chain_of_another_shape_is_no_answer(
    vendors: Vendors, world: World, chain: str | None
) -> None:
    target = "/tdx/certification/v4/qe/identity?update=standard"
    headers = () if chain is None else (("SGX-Enclave-Identity-Issuer-Chain", chain),)
    vendors.pages[target] = Page(vendors.pages[target].content, "application/json", headers)
    with pytest.raises(FetchError):
        get(settings(vendors), world, IDENTITY)


def test_a_missing_content_type_is_no_lie(vendors: Vendors, world: World) -> None:
    vendors.pages["/vcek/v1/Milan/crl"] = Page(der(b"list"), "")
    assert get(settings(vendors), world, LIST) == der(b"list")


def test_the_machines_own_world_has_time_patience_and_chance() -> None:
    world = SystemWorld()
    before = world.now()
    asyncio.run(world.sleep(0))
    assert before <= world.now()
    assert len({world.jitter() for _ in range(20)}) > 1
    assert all(0 <= world.jitter() < 1 for _ in range(20))


def test_the_documented_addresses_are_the_default() -> None:
    chosen = Settings()
    assert chosen.kds_url == "https://kdsintf.amd.com"
    assert chosen.pcs_url == "https://api.trustedservices.intel.com"
    assert chosen.intel_certificates_url == "https://certificates.trustedservices.intel.com"
