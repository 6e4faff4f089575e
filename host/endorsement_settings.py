# SPDX-License-Identifier: Apache-2.0
"""Where vendors' services are, and the bounds on asking them: the schema of `[endorsements]`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, assert_never

from host.config_error import ConfigError
from host.endorsement_requests import DAY, HOUR, Product, Service

BASE_URL: Final = re.compile(
    r"https://[0-9a-z.-]+(:[0-9]{1,5})?(/[0-9A-Za-z._/-]*[0-9A-Za-z._-])?"
    # Without encryption only to this machine: a mirror beside the host, or a test.
    r"|http://(127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5}"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses are those that AMD and Intel document. What is fetched is public and signed.

    `max_stale_seconds` is the age until which an old answer is still handed out, marked, while a service
    fails. `bundle` is a folder or zip file that is asked before cache and network; `offline` ends it there.
    `product` is for firmware whose reports (version 2) do not say what processor it is.
    """

    kds_url: str = "https://kdsintf.amd.com"
    pcs_url: str = "https://api.trustedservices.intel.com"
    intel_certificates_url: str = "https://certificates.trustedservices.intel.com"
    cache: Path | None = None
    bundle: Path | None = None
    offline: bool = False
    product: Product | None = None
    attempts: int = 4
    timeout_seconds: float = 10.0
    deadline_seconds: float = 30.0
    max_wait_seconds: float = 60.0
    max_patience_seconds: float = field(default=float(HOUR))
    max_stale_seconds: int = 14 * DAY

    def __post_init__(self) -> None:
        """Refuse addresses and bounds that cannot be meant. Raises ConfigError."""
        for service in Service:
            if not BASE_URL.fullmatch(self.base_url(service)):
                raise ConfigError(f"{self.base_url(service)!r} is no address of a vendor's service")
        if not 1 <= self.attempts <= 10:
            raise ConfigError(f"expected 1 to 10 attempts, found {self.attempts}")
        seconds = (
            self.timeout_seconds,
            self.deadline_seconds,
            self.max_wait_seconds,
            self.max_patience_seconds,
        )
        if not all(0 < value <= DAY for value in seconds) or not 0 <= self.max_stale_seconds <= 365 * DAY:
            raise ConfigError(
                "expected times of more than 0 seconds and up to a day, and staleness up to a year"
            )

    def base_url(self, service: Service) -> str:
        """Where a service is, without a slash at the end."""
        match service:
            case Service.KDS:
                return self.kds_url
            case Service.PCS:
                return self.pcs_url
            case Service.INTEL_CERTIFICATES:
                return self.intel_certificates_url
            case _:
                assert_never(service)


def parse_settings(table: Mapping[str, object]) -> Settings:
    """The settings of a TOML table; every key may be left out, no other is known. Raises ConfigError."""
    if unknown := sorted(table.keys() - {each.name for each in fields(Settings)}):
        raise ConfigError(f"unknown in [endorsements]: {', '.join(unknown)}")
    default = Settings()
    return Settings(
        kds_url=_text(table, "kds_url", default.kds_url),
        pcs_url=_text(table, "pcs_url", default.pcs_url),
        intel_certificates_url=_text(table, "intel_certificates_url", default.intel_certificates_url),
        cache=_path(table, "cache"),
        bundle=_path(table, "bundle"),
        offline=_flag(table, "offline"),
        product=_product(table),
        attempts=_whole(table, "attempts", default.attempts),
        timeout_seconds=_seconds(table, "timeout_seconds", default.timeout_seconds),
        deadline_seconds=_seconds(table, "deadline_seconds", default.deadline_seconds),
        max_wait_seconds=_seconds(table, "max_wait_seconds", default.max_wait_seconds),
        max_patience_seconds=_seconds(table, "max_patience_seconds", default.max_patience_seconds),
        max_stale_seconds=_whole(table, "max_stale_seconds", default.max_stale_seconds),
    )


def _text(table: Mapping[str, object], key: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise ConfigError(f'expected text as "{key}"')
    return value


def _path(table: Mapping[str, object], key: str) -> Path | None:
    value = _text(table, key, "")
    if value and not Path(value).is_absolute():
        raise ConfigError(f'expected an absolute path as "{key}"')
    return Path(value) if value else None


def _product(table: Mapping[str, object]) -> Product | None:
    name = _text(table, "product", "")
    if name and name not in set(Product):
        raise ConfigError(f'expected {", ".join(Product)} as "product"')
    return Product(name) if name else None


def _flag(table: Mapping[str, object], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f'expected true or false as "{key}"')
    return value


def _whole(table: Mapping[str, object], key: str, default: int) -> int:
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f'expected a whole number as "{key}"')
    return value


def _seconds(table: Mapping[str, object], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f'expected a number of seconds as "{key}"')
    return float(value)
