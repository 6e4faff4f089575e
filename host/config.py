# SPDX-License-Identifier: Apache-2.0
"""The closed schema of the host's configuration: one TOML text, unknown keys are errors."""

import re
import tomllib
from dataclasses import dataclass

LINK = re.compile(r"unix:/[^\x00]{1,100}|tcp:[0-9A-Za-z.:\[\]-]+:[0-9]{1,5}|vsock:[0-9]+:[0-9]+")
ADAPTERS = ("tng", "ehbp")
LISTEN = re.compile(r"(?P<host>[0-9A-Za-z.-]+|\[[0-9a-f:]+\]):(?P<port>[0-9]{1,5})")


class ConfigError(Exception):
    """The configuration is not well formed."""


@dataclass(frozen=True, slots=True)
class Config:
    """Where people reach this host, and where this host reaches the enclave."""

    listen_host: str
    listen_port: int
    link: str
    adapters: tuple[str, ...] = ()


def parse_config(text: str) -> Config:
    """Read a configuration: `listen = "127.0.0.1:8080"` and `link = "unix:/run/sottovoce.sock"`.

    `adapters = ["tng", "ehbp"]` serves clients of other protocols too; none by default.
    Raises ConfigError.
    """
    try:
        table: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None
    listen = _matching(table, "listen", LISTEN)
    link = _matching(table, "link", LINK)
    adapters = _names(table.pop("adapters", []))
    if table:
        raise ConfigError(f"unknown: {', '.join(sorted(table))}")
    port = int(listen["port"])
    if port > 65535:
        raise ConfigError(f"there is no port {port}")
    return Config(listen["host"].strip("[]"), port, link[0], adapters)


def _names(value: object) -> tuple[str, ...]:
    known = [adapter for adapter in ADAPTERS if isinstance(value, list) and adapter in value]
    if value != known:
        raise ConfigError(
            f'"adapters" is a list of {", ".join(ADAPTERS)}, each at most once and in this order'
        )
    return tuple(known)


def _matching(table: dict[str, object], key: str, form: re.Pattern[str]) -> re.Match[str]:
    value = table.pop(key, None)
    match = form.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f'"{key}" is missing or not of the form {form.pattern}')
    return match
