# SPDX-License-Identifier: Apache-2.0
"""What a GGUF file says of itself: a manifest of it, or a comparison with one."""

import hashlib
import mmap
import re
from pathlib import Path

from models.gguf import Gguf, GgufError, parse_gguf
from models.gguf_types import FILE_TYPES
from models.manifest import MAX_WEIGHTS_BYTES, NAME, Address, Manifest, ToolFormat, WeightsDigest

TEMPLATE_KEY = "tokenizer.chat_template"
UNKNOWN_LICENCE = "unknown"
UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
READS_TOOLS = re.compile(r"{%-? *(if|for)[^%]*\btools\b")
# What a template has where calls are in this form, and what it also has where they are in a relative of it:
# names and arguments as tags of their own, or between markers.
CALL_MARKS = {
    ToolFormat.TAGGED: (r"<tool_call>", r"<function=|<arg_key>"),
    ToolFormat.MISTRAL: (r"\[TOOL_CALLS\]", r"\[ARGS\]|\[CALL_ID\]"),
    ToolFormat.LLAMA3: (r'\{\\?"name\\?": function name, \\?"parameters\\?":', r"<function="),
}


def read_gguf(path: Path) -> Gguf:
    """The checked header of a file. Raises GgufError and OSError."""
    size = path.stat().st_size
    if not 0 < size <= MAX_WEIGHTS_BYTES:
        raise GgufError(f"a file of {size} bytes")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return parse_gguf(content)


def describe(path: Path, *, name: str | None = None, source: Address | None = None) -> Manifest:
    """A manifest of this file, with its licence as the file states it.

    Raises GgufError, where the file is not well formed or says too little, and OSError.
    """
    gguf = read_gguf(path)
    architecture = gguf.text("general.architecture") or ""
    context = gguf.number(f"{architecture}.context_length")
    if context is None or context < 1:
        raise GgufError("the file does not say how long its context is")
    template = template_of(gguf)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    title = gguf.text("general.name") or path.stem
    return Manifest(
        name=name or name_of(path.stem),
        title=UNSAFE.sub(" ", title)[:200],
        digest=WeightsDigest(digest),
        size_bytes=path.stat().st_size,
        licence=UNSAFE.sub(" ", gguf.text("general.license") or UNKNOWN_LICENCE)[:200],
        architecture=architecture,
        quantisation=quantisation_of(gguf),
        context_tokens=context,
        source=source,
        template=template,
        tools=tools_of(gguf),
    )


def differences(manifest: Manifest, gguf: Gguf) -> list[str]:
    """What a file says otherwise than its manifest, one sentence each; a licence is the manifest's word."""
    architecture = gguf.text("general.architecture") or ""
    said: list[tuple[str, object, object]] = [
        ("architecture", manifest.architecture, architecture),
        ("quantisation", manifest.quantisation, quantisation_of(gguf)),
        ("context", manifest.context_tokens, gguf.number(f"{architecture}.context_length")),
        ("chat template", _hex(manifest.template), _hex(template_of(gguf))),
        ("tool format", manifest.tools.value, tools_of(gguf).value),
    ]
    return [
        f"{what} is {found}, the manifest says {stated}" for what, stated, found in said if stated != found
    ]


def quantisation_of(gguf: Gguf) -> str:
    """How the weights are stored: what the file says, or else the type of most bytes."""
    stated = gguf.number("general.file_type")
    if stated in FILE_TYPES:
        return FILE_TYPES[stated]
    sizes: dict[str, int] = {}
    for tensor in gguf.tensors:
        sizes[tensor.type] = sizes.get(tensor.type, 0) + tensor.size_bytes
    return max(sizes, key=lambda kind: sizes[kind])


def template_of(gguf: Gguf) -> bytes | None:
    """SHA-256 of the chat template."""
    template = gguf.text(TEMPLATE_KEY)
    return None if template is None else hashlib.sha256(template.encode()).digest()


def tools_of(gguf: Gguf) -> ToolFormat:
    """How the template has tools called: none where it reads no `tools`, or in a form that is not ours."""
    template = gguf.text(TEMPLATE_KEY) or ""
    if not READS_TOOLS.search(template):
        return ToolFormat.NONE
    for form, (mark, spoils) in CALL_MARKS.items():
        if re.search(mark, template):
            return ToolFormat.NONE if re.search(spoils, template) else form
    return ToolFormat.NONE


def name_of(stem: str) -> str:
    """A name made of a file's name. Raises GgufError where nothing of it can be used."""
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:64]
    if not NAME.fullmatch(name):
        raise GgufError("the file's name gives no name for the model: choose one with --name")
    return name


def _hex(digest: bytes | None) -> str:
    return "none" if digest is None else digest.hex()
