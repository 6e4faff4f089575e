# SPDX-License-Identifier: Apache-2.0
"""The closed schema of the host's configuration: one TOML text, unknown keys are errors."""

import re
import tomllib
from dataclasses import dataclass
from typing import TypeAlias

from host.config_error import ConfigError
from host.endorsement_settings import Settings, parse_settings

LINK = re.compile(r"unix:/[^\x00]{1,100}|tcp:[0-9A-Za-z.:\[\]-]+:[0-9]{1,5}|vsock:[0-9]+:[0-9]+")
ADAPTERS = ("tng", "ehbp")
LISTEN = re.compile(r"(?P<host>[0-9A-Za-z.-]+|\[[0-9a-f:]+\]):(?P<port>[0-9]{1,5})")


Toml: TypeAlias = "str | int | float | bool | list[Toml] | dict[str, Toml]"


@dataclass(frozen=True, slots=True)
class Config:
    """Where people reach this host, and where this host reaches the enclave.

    With `endorsements` the host fetches what vendors say about the machine, and adds it to the evidence.
    """

    listen_host: str
    listen_port: int
    link: str
    endorsements: Settings | None = None
    adapters: tuple[str, ...] = ()


def parse_config(text: str) -> Config:
    """Read a configuration: `listen = "127.0.0.1:8080"` and `link = "unix:/run/sottovoce.sock"`.

    `adapters = ["tng", "ehbp"]` serves clients of other protocols too; none by default. The table
    `[endorsements]` may follow. Raises ConfigError.
    """
    try:
        table: dict[str, Toml] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None
    listen = _matching(table, "listen", LISTEN)
    link = _matching(table, "link", LINK)
    endorsements = _endorsements(table)
    adapters = _names(table.pop("adapters", []))
    if table:
        raise ConfigError(f"unknown: {', '.join(sorted(table))}")
    port = int(listen["port"])
    if port > 65535:
        raise ConfigError(f"there is no port {port}")
    return Config(listen["host"].strip("[]"), port, link[0], endorsements, adapters)


def _names(value: Toml) -> tuple[str, ...]:
    known = [adapter for adapter in ADAPTERS if isinstance(value, list) and adapter in value]
    if value != known:
        raise ConfigError(
            f'"adapters" is a list of {", ".join(ADAPTERS)}, each at most once and in this order'
        )
    return tuple(known)


def _endorsements(table: dict[str, Toml]) -> Settings | None:
    """The settings of the table, which may be empty; None where it is not there."""
    settings = table.pop("endorsements", None)
    if settings is None:
        return None
    if not isinstance(settings, dict):
        raise ConfigError("[endorsements] is no table")
    return parse_settings(settings)


def _matching(table: dict[str, Toml], key: str, form: re.Pattern[str]) -> re.Match[str]:
    value = table.pop(key, None)
    match = form.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f'"{key}" is missing or not of the form {form.pattern}')
    return match
