# SPDX-License-Identifier: Apache-2.0
"""What is known of one model before a byte of it is read."""

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum, auto
from importlib import resources
from typing import NewType, TypeGuard

WeightsDigest = NewType("WeightsDigest", bytes)  # SHA-256 of a GGUF file, 32 bytes
Address = NewType("Address", str)  # an https address, or an absolute path

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SHA256_HEX = re.compile(r"[0-9a-f]{64}")
ADDRESS = re.compile(r"(https://[!-~]{1,2000}|/[^\x00-\x1f]{1,2000})")
TEXT = re.compile(r"[^\x00-\x1f]{1,200}")
# Above this a manifest is a mistake: no quantised model that fits a confidential VM is larger.
MAX_WEIGHTS_BYTES = 1 << 40
MAX_PARTS = 64
NO_TEMPLATE = "none"


class ManifestError(Exception):
    """A manifest is not well formed, or no model of that name is known."""


class ToolFormat(StrEnum):
    """How a model writes that it calls a tool."""

    NONE = auto()  # its template knows no tools
    TAGGED = auto()  # JSON with name and arguments between <tool_call> and </tool_call>
    MISTRAL = auto()  # a JSON list of names and arguments after [TOOL_CALLS]
    LLAMA3 = auto()  # JSON with name and parameters, which is the whole answer


@dataclass(frozen=True, slots=True)
class WheelSource:
    """Weights, or a part of them, that are published as one member of a Python wheel."""

    distribution: str
    version: str
    sha256: str
    member: str


Source = Address | tuple[WheelSource, ...]  # wheels hold the file's parts in this order


@dataclass(frozen=True, slots=True)
class Manifest:
    """One model: its name, the digest of its weights, its licence and where to get it.

    `template` is the SHA-256 of the chat template inside the weights; a model without one completes texts and
    cannot chat.
    """

    name: str
    title: str
    digest: WeightsDigest
    size_bytes: int
    licence: str
    architecture: str
    quantisation: str
    context_tokens: int
    source: Source | None
    template: bytes | None = None
    tools: ToolFormat = ToolFormat.NONE


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
    """Read one manifest; unknown fields are errors, and only source, template and tools may be left out."""
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
        template=_parse_template(fields.text("template_sha256", default=NO_TEMPLATE)),
        tools=_parse_tools(fields.text("tools", default=ToolFormat.NONE)),
    )
    fields.finish()
    if manifest.tools is not ToolFormat.NONE and manifest.template is None:
        raise ManifestError("a model without a chat template has no tools")
    return manifest


def render_manifest(manifest: Manifest) -> str:
    """The text of a manifest, which `parse_manifest` reads back."""
    lines = [
        f"name = {_quoted(manifest.name)}",
        f"title = {_quoted(manifest.title)}",
        f"sha256 = {_quoted(manifest.digest.hex())}",
        f"size_bytes = {manifest.size_bytes}",
        f"licence = {_quoted(manifest.licence)}",
        f"architecture = {_quoted(manifest.architecture)}",
        f"quantisation = {_quoted(manifest.quantisation)}",
        f"context_tokens = {manifest.context_tokens}",
        f"template_sha256 = {_quoted(manifest.template.hex() if manifest.template else NO_TEMPLATE)}",
        f"tools = {_quoted(manifest.tools)}",
    ]
    if isinstance(manifest.source, str):
        lines.append(f"source = {_quoted(manifest.source)}")
    for part in manifest.source if isinstance(manifest.source, tuple) else ():
        lines += ["", "[[source]]", f"distribution = {_quoted(part.distribution)}"]
        lines += [f"version = {_quoted(part.version)}", f"sha256 = {_quoted(part.sha256)}"]
        lines.append(f"member = {_quoted(part.member)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _parse_template(text: str) -> bytes | None:
    if text == NO_TEMPLATE:
        return None
    if not SHA256_HEX.fullmatch(text):
        raise ManifestError(f'"template_sha256" of the manifest must be a SHA-256 or "{NO_TEMPLATE}"')
    return bytes.fromhex(text)


def _parse_tools(text: str) -> ToolFormat:
    try:
        return ToolFormat(text)
    except ValueError:
        raise ManifestError(f'"tools" of the manifest must be one of {", ".join(ToolFormat)}') from None


def _parse_source(value: object) -> Source:
    """Read where the weights come from: an address, one wheel, or wheels that hold one part each."""
    if isinstance(value, str):
        if not ADDRESS.fullmatch(value):
            raise ManifestError("a source that is text must be an https address or an absolute path")
        return Address(value)
    tables = value if _is_list(value) else [value]
    if not 1 <= len(tables) <= MAX_PARTS:
        raise ManifestError(f"[[source]] must have 1 to {MAX_PARTS} parts")
    return tuple(_parse_wheel(table) for table in tables)


def _parse_wheel(table: object) -> WheelSource:
    if not _is_table(table):
        raise ManifestError("[source] must be a table or text")
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


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


class _Table:
    """A TOML table that is emptied field by field, so that what is left is unknown."""

    def __init__(self, table: dict[str, object], name: str) -> None:
        self._table, self._name = table, name

    def text(self, key: str, form: re.Pattern[str] = TEXT, *, default: str | None = None) -> str:
        value = self._table.pop(key, default)
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
