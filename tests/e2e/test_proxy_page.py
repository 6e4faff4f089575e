# SPDX-License-Identifier: Apache-2.0
"""The proxy's page in a real browser: by keyboard alone, on a phone, light and dark, without any script."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Pair
from tests.e2e.proxies import Proxy, running_proxy
from tests.fakes.browser import Page, browser

TAB, ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture
def proxy(pair: Pair, tmp_path: Path) -> Iterator[Proxy]:
    """One whose memory a test may spoil."""
    with running_proxy(pair.place, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests."""
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_fits_and_has_its_own_style(proxy: Proxy, page: Page, width: int, colours: str) -> None:
    page.addresses.clear()
    page.open(f"{proxy.url}/", width=width, colours=colours)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
    assert page.evaluate("document.title") == "VERIFIED - Sottovoce"
    # The policy of the page allows the one style by its digest: without it a button has another height.
    assert page.evaluate("getComputedStyle(document.querySelector('button')).minHeight") == "44px"
    said = page.evaluate("getComputedStyle(document.querySelector('.good')).color")
    assert said == {"light": "rgb(7, 94, 44)", "dark": "rgb(127, 224, 163)"}[colours]
    assert page.evaluate("document.scripts.length") == 0
    assert {address for address in page.addresses if not address.endswith("/favicon.ico")} == {
        f"{proxy.url}/"
    }


def test_a_person_verifies_again_by_keyboard_and_is_warned(proxy: Proxy, page: Page) -> None:
    memory = proxy.log.parent / ".local" / "share" / "sottovoce" / "trust.json"
    page.open(f"{proxy.url}/", width=800, colours="light")
    assert page.evaluate("document.querySelector('.care')") is None
    known = json.loads(memory.read_bytes())
    for origin in known["origins"].values():
        origin[1][0][0] = "ff" * 48  # the measurement that was shown before
    memory.write_text(json.dumps(known), encoding="utf-8")
    page.press(*TAB)
    assert page.evaluate("document.activeElement.textContent") == "Verify again"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(*ENTER)
    page.wait_for("document.querySelector('.care') != null")
    assert "changed since last time: measurement" in str(
        page.evaluate("document.querySelector('.care').textContent")
    )
    assert "WARNING, changed" in proxy.printed
    assert page.evaluate("document.title") == "VERIFIED - Sottovoce"

    for origin in known["origins"].values():
        origin[1][0][5] = True  # and it is pinned now
    memory.write_text(json.dumps(known), encoding="utf-8")
    page.press(*TAB)
    page.press(*ENTER)
    page.wait_for("document.title == 'NOT VERIFIED - Sottovoce'")
    assert "is not pinned for this address" in str(page.evaluate("document.body.textContent"))
