# SPDX-License-Identifier: Apache-2.0
"""Endorsements at hand while the host serves, asked for again in time, and never in the way."""

import asyncio
import base64
import json
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from attestation.evidence import decode_evidence
from attestation.simulated.window import Window
from attestation.snp.product import Product
from attestation.snp.report import SigningKey
from host import bundle, endorsement_requests
from host.endorsement_fetch import FetchError
from host.endorsement_settings import Settings
from host.endorsements import Source, open_endorsements
from host.link import LinkError, NoEnclaveError
from host.stapler import REFRESH_SECONDS, Stapler
from tests.fakes import hardware
from tests.fakes.vendors import DER_TYPE, Page, Vendors, World, running_vendors

DAY = 86_400
BARE = json.dumps(json.loads(hardware.evidence().encode()) | {"chain": [], "crl": ""}).encode()
LIST = endorsement_requests.amd_revocations(
    endorsement_requests.Product.GENOA, endorsement_requests.SigningKey.VCEK
)
LEAF = f"/vcek/v1/Genoa/{hardware.vendor().chip_id.hex()}?blSPL=10&teeSPL=0&snpSPL=25&ucodeSPL=84"


class Clock(World):
    """The test's time, in which sleeping lets others run."""

    @override
    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await super().sleep(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def world() -> Clock:
    return Clock(float(hardware.NOW))


@pytest.fixture
def vendors(world: Clock) -> Iterator[Vendors]:
    with running_vendors(world.now) as server:
        guest = hardware.guest()
        server.serve_amd("Genoa", "vcek", guest.chain[1:], guest.crl)
        server.pages[LEAF] = Page(guest.chain[0], DER_TYPE)
        yield server


def settings(vendors: Vendors, place: Path | None = None, *, cache: Path | None = None) -> Settings:
    return Settings(kds_url=vendors.url, cache=cache, bundle=place, offline=place is not None, attempts=1)


def short_list(vendors: Vendors, days: int) -> None:
    """Serve a list of so short a life."""
    vendor = hardware.vendor()
    setting = vendor.setting(hardware.MEASUREMENT, at=hardware.NOW, product=Product.GENOA)
    assert setting.signing_key is SigningKey.VCEK
    machine = vendor.start(replace(setting, list_window=Window(-1, days)))
    vendors.serve_amd("Genoa", "vcek", machine.chain[1:], machine.crl)


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until the condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event, and needs none
            await asyncio.sleep(0.01)


async def serves() -> bytes:
    return BARE


def stapler(
    chosen: Settings, world: Clock, read: Callable[[], Awaitable[bytes]] = serves
) -> tuple[Stapler, Callable[[], Coroutine[None, None, float]]]:
    """A stapler, and a way to have it fetch once."""
    made = Stapler(lambda: open_endorsements(chosen, world), read, world)

    async def once() -> float:
        async with open_endorsements(chosen, world) as endorsements:
            return await made.refresh(endorsements)

    return made, once


def test_nothing_is_added_before_it_is_fetched(vendors: Vendors, world: Clock) -> None:
    made, once = stapler(settings(vendors), world)
    assert made.staple(BARE) == BARE
    asyncio.run(once())
    assert made.status == "stapled"
    assert decode_evidence(made.staple(BARE)) == hardware.evidence()
    assert hardware.judge(decode_evidence(made.staple(BARE))) == []


def test_evidence_that_is_complete_is_passed_on_octet_by_octet(vendors: Vendors, world: Clock) -> None:
    complete = hardware.evidence().encode()

    async def read() -> bytes:
        return complete

    made, once = stapler(settings(vendors), world, read)
    assert asyncio.run(once()) == REFRESH_SECONDS
    assert made.staple(complete) is complete
    assert made.status == "the enclave brings its own"
    assert vendors.asked == []


@pytest.mark.parametrize("document", [b"", b"{}", b"no evidence"])
def test_what_is_no_evidence_is_passed_on(vendors: Vendors, world: Clock, document: bytes) -> None:
    made, _ = stapler(settings(vendors), world)
    assert made.staple(document) is document
    assert "evidence" in made.status


def test_a_failing_vendor_leaves_what_was_there(vendors: Vendors, world: Clock) -> None:
    made, once = stapler(settings(vendors), world)
    asyncio.run(once())
    stapled = made.staple(BARE)
    vendors.statuses = [(500, {})] * 3
    with pytest.raises(FetchError):
        asyncio.run(once())
    assert made.staple(BARE) == stapled


def test_a_list_is_asked_for_at_half_of_its_life(vendors: Vendors, world: Clock, tmp_path: Path) -> None:
    short_list(vendors, 1)
    chosen = settings(vendors, cache=tmp_path)
    _, once = stapler(chosen, world)
    assert asyncio.run(once()) == REFRESH_SECONDS  # half of a day is later
    vendors.asked.clear()
    world.moment += DAY / 2 + 1
    asyncio.run(once())
    assert vendors.asked == ["/vcek/v1/Genoa/crl"]
    world.moment += DAY / 4  # the vendor had nothing newer: again at half of what is left
    assert asyncio.run(once()) == pytest.approx(DAY / 8, abs=2)
    assert vendors.asked == ["/vcek/v1/Genoa/crl"] * 2


def test_an_expired_list_is_of_no_use_any_more(vendors: Vendors, world: Clock, tmp_path: Path) -> None:
    short_list(vendors, 1)
    chosen = settings(vendors, cache=tmp_path)

    async def ask() -> Source:
        async with open_endorsements(chosen, world) as host:
            return (await host.get(LIST)).source

    assert asyncio.run(ask()) is Source.VENDOR
    vendors.statuses = [(500, {})] * 2
    world.moment += DAY - 60
    assert asyncio.run(ask()) is Source.STALE
    world.moment += 120
    with pytest.raises(FetchError, match="status 500"):
        asyncio.run(ask())


def test_nothing_is_asked_any_more_when_the_connections_are_closed(vendors: Vendors, world: Clock) -> None:
    async def leave() -> None:
        async with open_endorsements(settings(vendors), world) as host:
            asking = asyncio.ensure_future(host.get(LIST))
            await asyncio.to_thread(vendors.wait_for, 1)
        assert asyncio.all_tasks() <= {asyncio.current_task(), asking}
        with pytest.raises(asyncio.CancelledError):
            await asking

    vendors.hold = True
    asyncio.run(leave())


def test_an_expired_bundle_gives_way_to_the_vendor(vendors: Vendors, world: Clock, tmp_path: Path) -> None:
    (tmp_path / LIST.name).write_bytes(hardware.guest().crl)

    async def ask(*, offline: bool) -> Source:
        chosen = replace(settings(vendors), bundle=tmp_path, offline=offline)
        async with open_endorsements(chosen, world) as host:
            return (await host.get(LIST)).source

    assert asyncio.run(ask(offline=False)) is Source.BUNDLE
    world.moment += 31 * DAY
    assert asyncio.run(ask(offline=False)) is Source.VENDOR
    with pytest.raises(FetchError, match=r"amd-vcek-Genoa\.crl of the bundle expired at .* offline"):
        asyncio.run(ask(offline=True))


def test_it_tries_again_until_there_is_an_enclave(vendors: Vendors, world: Clock) -> None:
    absent: list[LinkError] = [NoEnclaveError("nobody listens"), LinkError("it broke off")]

    async def read() -> bytes:
        if absent:
            raise absent.pop(0)
        return BARE

    made, _ = stapler(settings(vendors), world, read)

    async def run() -> None:
        async with made.running():
            await until(lambda: made.status == "stapled")

    asyncio.run(run())
    assert world.slept[:2] == [2.0, 4.0]


def test_a_document_of_another_machine_has_it_fetch_at_once(vendors: Vendors, world: Clock) -> None:
    class Patient(Clock):
        """A world in which nobody has slept enough yet."""

        @override
        async def sleep(self, seconds: float) -> None:
            """Wait for ever."""
            await asyncio.Event().wait()

    served = [hardware.evidence().encode()]

    async def read() -> bytes:
        return served[0]

    made, _ = stapler(settings(vendors), Patient(world.moment), read)

    async def run() -> bytes:
        async with made.running():
            await until(lambda: made.status == "the enclave brings its own")
            served[0] = BARE
            await until(lambda: made.staple(BARE) != BARE)
            return made.staple(BARE)

    assert decode_evidence(asyncio.run(run())) == hardware.evidence()


def test_failures_come_less_and_less_often(vendors: Vendors, world: Clock) -> None:
    vendors.pages.clear()
    made, _ = stapler(settings(vendors), world)

    async def run() -> None:
        async with made.running():
            await until(lambda: len(world.slept) >= 13)

    asyncio.run(run())
    assert world.slept[:13] == [2.0 * 2**n for n in range(11)] + [3600.0, 3600.0]
    assert "is not there (status 404)" in made.status


def test_a_folder_that_cannot_be_made_ends_the_start(vendors: Vendors, world: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made, _ = stapler(settings(vendors, cache=tmp_path / "file" / "cache"), world)

    async def run() -> None:
        async with made.running():
            pass

    with pytest.raises(NotADirectoryError):
        asyncio.run(run())


def test_a_bundle_is_made_and_read(
    vendors: Vendors, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, evidence, place = tmp_path / "host.toml", tmp_path / "evidence.json", tmp_path / "bundle"
    config.write_text(
        f'listen = "h:1"\nlink = "unix:/nowhere"\n[endorsements]\nkds_url = "{vendors.url}"\n',
        encoding="utf-8",
    )
    evidence.write_bytes(BARE)
    made = ("fetch", "--config", str(config), "--evidence", str(evidence), "--out", str(place))
    code = bundle.main(list(made))
    printed = capsys.readouterr().out
    names = {path.name for path in place.iterdir()}
    assert len(names) == 3
    assert all(name in printed for name in names)
    # The list is of a fixed time; by this machine's clock it may be over.
    assert code == (1 if "expired" in printed else 0)
    zipped = shutil.make_archive(str(tmp_path / "zipped"), "zip", place)
    assert bundle.main(["inspect", zipped]) == code
    assert capsys.readouterr().out == printed.replace(str(place), zipped)
    world = Clock(float(hardware.NOW))
    again, once = stapler(settings(vendors, place), world)
    vendors.pages.clear()
    asyncio.run(once())
    assert decode_evidence(again.staple(BARE)) == hardware.evidence()


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("amd-vcek-Genoa.crl", b"<html>", "expected a DER sequence"),
        ("amd-vcek-Genoa.crl", bytes.fromhex("3000"), "does not say when its next update is"),
        ("amd-vcek-Genoa-chain.pem", b"", "expected PEM certificates, found none"),
        ("intel-tdx-qe-identity-standard.json", b"{}", "expected a JSON object of a signed value"),
        ("intel-pck-platform.crl", hardware.vendor().revocation_list(now=0), "expired 1970-01-31 00:00 UTC"),
    ],
)
def test_faults_of_a_bundle_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, text: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert bundle.main(["inspect", str(tmp_path)]) == 1
    assert f"fault  {name}: {text}" in capsys.readouterr().out


def test_an_empty_bundle_is_a_fault_and_no_bundle_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bundle.main(["inspect", str(tmp_path)]) == 1
    assert bundle.main(["inspect", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("inspect: ")
    assert bundle.main(["fetch", "--out", str(tmp_path)]) == 2
    assert "give --config" in capsys.readouterr().err
    evidence = tmp_path / "evidence.json"
    evidence.write_text(base64.b64encode(BARE).decode(), encoding="ascii")
    assert bundle.main(["fetch", "--evidence", str(evidence), "--out", str(tmp_path)]) == 2
    assert "expected an evidence document" in capsys.readouterr().err
