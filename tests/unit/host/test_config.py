# SPDX-License-Identifier: Apache-2.0
"""The host's configuration."""

import subprocess
import sys
from pathlib import Path

import pytest

from host.config import Config, parse_config
from host.config_error import ConfigError
from host.endorsement_requests import Product
from host.endorsement_settings import Settings

LINK = "unix:/run/enclave.sock"


def text(listen: str = "127.0.0.1:8080", link: str = LINK, more: str = "") -> str:
    return f'listen = "{listen}"\nlink = "{link}"\n{more}'


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
        ("llm.example:80", "llm.example", 80),
    ],
)
def test_where_people_reach_the_host(listen: str, host: str, port: int) -> None:
    assert parse_config(text(listen=listen)) == Config(host, port, LINK)


@pytest.mark.parametrize(
    "link", [LINK, "tcp:10.0.0.2:7000", "tcp:[fd00::2]:7000", "tcp:enclave.internal:1", "vsock:3:5000"]
)
def test_where_the_host_reaches_the_enclave(link: str) -> None:
    assert parse_config(text(link=link)).link == link


@pytest.mark.parametrize(
    "listen", ["8080", ":8080", "127.0.0.1", "127.0.0.1:", "::1:80", "[x]:80", "h:123456", "h:80 "]
)
def test_listen_of_another_form_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match='"listen" is missing or not of the form'):
        parse_config(text(listen=listen))


@pytest.mark.parametrize(
    "link",
    [
        "",
        "/run/enclave.sock",
        "unix:enclave.sock",
        f"unix:/{'a' * 101}",
        "tcp:h",
        "vsock:a:b",
        "http:h:1",
        "tcp:h:1\\n",
    ],
)
def test_link_of_another_form_is_refused(link: str) -> None:
    with pytest.raises(ConfigError, match='"link" is missing or not of the form'):
        parse_config(text(link=link))


def test_no_other_protocol_is_served_unless_it_is_named() -> None:
    assert parse_config(text()).adapters == ()
    assert parse_config(text(more='adapters = ["ehbp"]')).adapters == ("ehbp",)
    assert parse_config(text(more='adapters = ["tng", "ehbp"]')).adapters == ("tng", "ehbp")


@pytest.mark.parametrize("value", ['"tng"', '["x"]', '["tng", "tng"]', '["ehbp", "tng"]', "[1]", "true"])
def test_adapters_of_another_form_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match='"adapters" is a list of tng, ehbp'):
        parse_config(text(more=f"adapters = {value}"))


def test_there_is_no_port_above_65535() -> None:
    with pytest.raises(ConfigError, match="there is no port 65536"):
        parse_config(text(listen="localhost:65536"))


def test_unknown_keys_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown: debug, workers"):
        parse_config(text(more="workers = 4\ndebug = true\n"))


@pytest.mark.parametrize(
    "written", ['listen = "localhost:1"', f'link = "{LINK}"', "", "listen = 8080\nlink = 1"]
)
def test_what_is_missing_or_no_text_is_named(written: str) -> None:
    with pytest.raises(ConfigError, match="is missing or not of the form"):
        parse_config(written)


def test_endorsements_are_asked_for_by_a_table() -> None:
    assert parse_config(text()).endorsements is None
    assert parse_config(text(more="[endorsements]\n")).endorsements == Settings()
    chosen = parse_config(text(more='[endorsements]\nproduct = "Milan"\noffline = true\n')).endorsements
    assert chosen == Settings(product=Product.MILAN, offline=True)


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ("endorsements = 1\n", "is no table"),
        ("endorsements = true\n", "is no table"),
        ("[endorsements]\nverify = false\n", "unknown in .endorsements.: verify"),
        ('[endorsements]\nproduct = "Rome"\n', 'expected Milan, Genoa, Turin as "product"'),
        ('[endorsements]\nkds_url = "http://kds.example"\n', "no address of a vendor's service"),
    ],
)
def test_endorsements_of_another_form_are_refused(more: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        parse_config(text(more=more))


def test_text_that_is_not_toml_is_refused() -> None:
    with pytest.raises(ConfigError, match="not TOML"):
        parse_config("listen")


@pytest.mark.parametrize(
    "written",
    [
        b"workers = 1\n",
        b"\xff",
        None,
        b'listen = "127.0.0.1:0"\nlink = "unix:/nowhere"\n[endorsements]\ncache = "/dev/null/cache"\n',
    ],
)
def test_the_process_says_in_one_sentence_why_it_does_not_start(
    tmp_path: Path, written: bytes | None
) -> None:
    path = tmp_path / "host.toml"
    if written is not None:
        path.write_bytes(written)
    command = [sys.executable, "-P", "-m", "host", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith(f"the host does not start: {path}: ")
    assert done.stderr.count("\n") == 1
