# SPDX-License-Identifier: Apache-2.0
"""The closed schema of the enclave's configuration: one TOML text, unknown keys are errors."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from models.manifest import Manifest

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
Origin = Annotated[str, Meta(pattern=r"^https?://[a-z0-9.:\[\]-]{1,255}\Z")]
Link = Annotated[
    str, Meta(pattern=r"^(unix:/[^\x00]{1,100}|tcp:[0-9A-Za-z.:\[\]-]+:[0-9]{1,5}|vsock:[0-9]+:[0-9]+)\Z")
]
AbsolutePath = Annotated[str, Meta(pattern=r"^/[^\x00]*\Z")]


class ConfigError(Exception):
    """The configuration is not well formed, or asks for what may not be."""


class SimulatedTee(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="simulated-sev-snp",
):
    """Evidence from the vendor of our own, whose root lies in `folder`. It proves nothing."""

    folder: AbsolutePath


class HardwareTee(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="hardware",
):
    """Evidence from this machine's processor. Which one, and by which path, the kernel decides."""


Tee = SimulatedTee | HardwareTee


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model is served: a catalogue name or a manifest of one's own, and where its weights lie."""

    weights: AbsolutePath
    name: Name | None = None
    manifest: AbsolutePath | None = None


class Engine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model is run; `slots` is how many conversations are worked on at once."""

    context_tokens: Annotated[int, Meta(ge=64, le=1 << 20)] = 4096
    slots: Annotated[int, Meta(ge=1, le=64)] | Literal["auto"] = "auto"
    threads: Annotated[int, Meta(ge=1, le=512)] | Literal["auto"] = "auto"
    waiting_requests: Annotated[int, Meta(ge=0, le=1024)] = 16
    session_memory_mib: Annotated[int, Meta(ge=0, le=1 << 20)] = 256


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of one enclave.

    `ehbp` serves a protocol that protects less (wire.md 8.2), and shows in the evidence like all of this.

    With `production` on, whatever the kernel refuses ends the start, and a simulated TEE is not allowed.
    With `pq_only` on, the classical key is not offered, which is the only one that most OHTTP clients know.
    """

    production: bool
    link: Link
    audience: Origin
    deployment: Name
    tee: Tee
    pq_only: bool = False
    ehbp: bool = False
    model: Model
    engine: Engine = Engine()

    def __post_init__(self) -> None:
        """Refuse combinations that no field can refuse alone."""
        if (self.model.name is None) == (self.model.manifest is None):
            raise ValueError("[model] needs exactly one of name and manifest")


class Launch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the supervisor hands over: the configuration it read, and the model whose weights it sealed."""

    config: Config
    manifest: Manifest


def parse_config(text: str) -> Config:
    """Read a configuration.

    Raises ConfigError for unknown keys, missing keys, wrong types, and a simulated TEE in production.
    """
    try:
        config = msgspec.toml.decode(text, type=Config)
    except msgspec.DecodeError as error:
        raise ConfigError(str(error)) from None
    if config.production and isinstance(config.tee, SimulatedTee):
        raise ConfigError("production needs a hardware TEE, and [tee] names a simulated one")
    return config


def read_config(path: Path) -> Config:
    """Read the configuration file.

    Raises ConfigError, which also covers a file that cannot be read.
    """
    try:
        return parse_config(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def configuration_digest(config: Config, protections: dict[str, str]) -> bytes:
    """SHA-256 of the configuration in force, with what the kernel granted: the claim `cfg` (wire.md 6.3)."""
    effective = {"config": msgspec.to_builtins(config), "protections": protections}
    return hashlib.sha256(msgspec.json.encode(effective, order="deterministic")).digest()
