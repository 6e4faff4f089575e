# SPDX-License-Identifier: Apache-2.0
"""What is known of one model before a byte of it is read."""

import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import NewType, TypeGuard

WeightsDigest = NewType("WeightsDigest", bytes)  # SHA-256 of a GGUF file, 32 bytes

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SHA256_HEX = re.compile(r"[0-9a-f]{64}")
# Above this a manifest is a mistake: no quantised model that fits a confidential VM is larger.
MAX_WEIGHTS_BYTES = 1 << 40


class ManifestError(Exception):
    """A manifest is not well formed, or no model of that name is known."""


@dataclass(frozen=True, slots=True)
class WheelSource:
    """Weights that are published as one member of a Python wheel."""

    distribution: str
    version: str
    sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One model: its name, the digest of its weights, its licence and where to get it."""

    name: str
    title: str
    digest: WeightsDigest
    size_bytes: int
    licence: str
    architecture: str
    quantisation: str
    context_tokens: int
    source: WheelSource | None


def catalogue() -> dict[str, Manifest]:
    """The models that ship with the project, by name."""
    files = resources.files("models").joinpath("catalogue").iterdir()
    manifests = (
        parse_manifest(file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".toml")
    )
    return {manifest.name: manifest for manifest in sorted(manifests, key=lambda manifest: manifest.name)}


def find_manifest(name: str) -> Manifest:
    """The catalogue's model of this name.

    Raises ManifestError, naming the models there are.
    """
    known = catalogue()
    if name not in known:
        raise ManifestError(f'no model "{name}" in the catalogue; there are: {", ".join(known)}')
    return known[name]


def parse_manifest(text: str) -> Manifest:
    """Read one manifest; every field is required but the source, and an unknown one is an error."""
    try:
        table: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"not TOML: {error}") from None
    fields = _Table(table, "manifest")
    source: object = table.pop("source", None)
    manifest = Manifest(
        name=fields.text("name", NAME),
        title=fields.text("title"),
        digest=WeightsDigest(bytes.fromhex(fields.text("sha256", SHA256_HEX))),
        size_bytes=fields.number("size_bytes", MAX_WEIGHTS_BYTES),
        licence=fields.text("licence"),
        architecture=fields.text("architecture"),
        quantisation=fields.text("quantisation"),
        context_tokens=fields.number("context_tokens", 1 << 24),
        source=None if source is None else _parse_source(source),
    )
    fields.finish()
    return manifest


def _parse_source(table: object) -> WheelSource:
    """Read where the weights come from."""
    if not _is_table(table):
        raise ManifestError("[source] must be a table")
    fields = _Table(table, "source")
    source = WheelSource(
        distribution=fields.text("distribution", re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")),
        version=fields.text("version", re.compile(r"[0-9][0-9A-Za-z.+!-]*")),
        sha256=fields.text("sha256", SHA256_HEX),
        member=fields.text("member"),
    )
    fields.finish()
    return source


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


class _Table:
    """A TOML table that is emptied field by field, so that what is left is unknown."""

    def __init__(self, table: dict[str, object], name: str) -> None:
        self._table, self._name = table, name

    def text(self, key: str, form: re.Pattern[str] = re.compile(r"[^\x00-\x1f]{1,200}")) -> str:
        value = self._table.pop(key, None)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ManifestError(f'"{key}" of the {self._name} must be text of the form {form.pattern}')
        return value

    def number(self, key: str, largest: int) -> int:
        value = self._table.pop(key, None)
        if type(value) is not int or not 0 < value <= largest:
            raise ManifestError(f'"{key}" of the {self._name} must be a whole number from 1 to {largest}')
        return value

    def finish(self) -> None:
        if self._table:
            raise ManifestError(f"unknown in the {self._name}: {', '.join(sorted(self._table))}")
