# SPDX-License-Identifier: Apache-2.0
"""Manifests: the closed form of their text, and the catalogue."""

from importlib import resources

import pytest

from models.manifest import (
    Address,
    ManifestError,
    ToolFormat,
    WheelSource,
    catalogue,
    find_manifest,
    parse_manifest,
    render_manifest,
)

DIGEST = "ab" * 32
FIELDS = {
    "name": '"tiny-1b"',
    "title": '"Tiny 1B"',
    "sha256": f'"{DIGEST}"',
    "size_bytes": "123",
    "licence": '"MIT"',
    "architecture": '"llama"',
    "quantisation": '"Q4_1"',
    "context_tokens": "2048",
}
SOURCE = {
    "distribution": '"llm-tiny"',
    "version": '"1.2.3"',
    "sha256": f'"{"cd" * 32}"',
    "member": '"llm_tiny/weights.gguf"',
}


def toml(fields: dict[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in fields.items())


def with_source(**changes: str) -> str:
    return toml(FIELDS) + "[source]\n" + toml(SOURCE | changes)


def without(fields: dict[str, str], key: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name != key}


def test_every_fact_of_the_text_is_in_the_manifest() -> None:
    manifest = parse_manifest(with_source())
    assert (manifest.name, manifest.title, manifest.licence) == ("tiny-1b", "Tiny 1B", "MIT")
    assert (manifest.architecture, manifest.quantisation) == ("llama", "Q4_1")
    assert (manifest.size_bytes, manifest.context_tokens) == (123, 2048)
    assert manifest.digest == bytes.fromhex(DIGEST)
    assert manifest.source == (WheelSource("llm-tiny", "1.2.3", "cd" * 32, "llm_tiny/weights.gguf"),)
    assert (manifest.template, manifest.tools) == (None, ToolFormat.NONE)


def test_template_and_tools() -> None:
    manifest = parse_manifest(toml(FIELDS | {"template_sha256": f'"{"ef" * 32}"', "tools": '"tagged"'}))
    assert (manifest.template, manifest.tools) == (b"\xef" * 32, ToolFormat.TAGGED)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"template_sha256": '"ef"'}, '"template_sha256" of the manifest must be a SHA-256 or "none"'),
        ({"template_sha256": "1"}, '"template_sha256" of the manifest'),
        ({"tools": '"all"'}, '"tools" of the manifest must be one of none, tagged'),
        ({"tools": "true"}, '"tools" of the manifest'),
        ({"tools": '"tagged"'}, "without a chat template has no tools"),
    ],
)
def test_template_and_tools_of_another_form_are_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_manifest(toml(FIELDS | fields))


@pytest.mark.parametrize("source", ["https://weights.example/a.gguf", "/data/a b.gguf"])
def test_a_source_may_be_an_address_or_a_path(source: str) -> None:
    assert parse_manifest(toml(FIELDS | {"source": f'"{source}"'})).source == Address(source)


def test_a_source_may_be_parts() -> None:
    part = "[[source]]\n" + toml(SOURCE)
    assert (
        parse_manifest(toml(FIELDS) + part * 2).source
        == (WheelSource("llm-tiny", "1.2.3", "cd" * 32, "llm_tiny/weights.gguf"),) * 2
    )
    with pytest.raises(ManifestError, match="1 to 64 parts"):
        parse_manifest(toml(FIELDS) + part * 65)


@pytest.mark.parametrize(
    "text",
    [
        with_source(),
        toml(FIELDS),
        toml(FIELDS | {"source": '"https://weights.example/a"'}),
        toml(FIELDS | {"template_sha256": f'"{"ef" * 32}"', "tools": '"tagged"'}),
        toml(FIELDS | {"title": '"\\"quoted\\" \\\\ é"'}),
        toml(FIELDS) + ("[[source]]\n" + toml(SOURCE)) * 3,
    ],
)
def test_a_manifest_that_is_rendered_is_read_back(text: str) -> None:
    manifest = parse_manifest(text)
    assert parse_manifest(render_manifest(manifest)) == manifest


def test_a_source_is_not_required() -> None:
    assert parse_manifest(toml(FIELDS)).source is None


@pytest.mark.parametrize("key", FIELDS)
def test_each_field_is_required(key: str) -> None:
    with pytest.raises(ManifestError, match=f'"{key}" of the manifest'):
        parse_manifest(toml(without(FIELDS, key)))


@pytest.mark.parametrize("key", SOURCE)
def test_each_field_of_the_source_is_required(key: str) -> None:
    with pytest.raises(ManifestError, match=f'"{key}" of the source'):
        parse_manifest(toml(FIELDS) + "[source]\n" + toml(without(SOURCE, key)))


def test_unknown_fields_are_named() -> None:
    with pytest.raises(ManifestError, match="unknown in the manifest: color, flavour"):
        parse_manifest(toml(FIELDS | {"flavour": "1", "color": "2"}))
    with pytest.raises(ManifestError, match="unknown in the source: mirror"):
        parse_manifest(with_source(mirror='"https://elsewhere.example"'))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", f'"{DIGEST.upper()}"'),
        ("sha256", f'"{DIGEST[:-2]}"'),
        ("sha256", f'"{DIGEST}00"'),
        ("sha256", f'"{DIGEST}\\n"'),
        ("sha256", f'"sha256:{DIGEST}"'),
        ("name", '"../escape"'),
        ("name", '"Upper"'),
        ("name", '""'),
        ("name", f'"{"a" * 65}"'),
        ("title", '""'),
        ("title", '"two\\nlines"'),
        ("title", "7"),
        ("size_bytes", "true"),
        ("size_bytes", "0"),
        ("size_bytes", "-1"),
        ("size_bytes", "1.0"),
        ("size_bytes", '"1"'),
        ("size_bytes", str((1 << 40) + 1)),
        ("context_tokens", "true"),
        ("context_tokens", str((1 << 24) + 1)),
    ],
)
def test_fields_of_another_form_are_refused(key: str, value: str) -> None:
    with pytest.raises(ManifestError, match=f'"{key}" of the manifest must be'):
        parse_manifest(toml(FIELDS | {key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("distribution", '"--index-url=http://evil.example"'),
        ("distribution", '"a b"'),
        ("version", '"latest"'),
        ("version", '"1.0 --hash=sha256:00"'),
        ("sha256", '"00"'),
        ("member", '""'),
        ("member", "true"),
    ],
)
def test_sources_that_could_say_something_else_to_pip_are_refused(key: str, value: str) -> None:
    with pytest.raises(ManifestError, match=f'"{key}" of the source must be'):
        parse_manifest(with_source(**{key: value}))


@pytest.mark.parametrize(
    "source", ["true", "[]", "1", "[1]", '"http://weights.example"', '"weights.gguf"', '"https://a b"', '""']
)
def test_a_source_of_another_form_is_refused(source: str) -> None:
    with pytest.raises(ManifestError, match="source"):
        parse_manifest(toml(FIELDS | {"source": source}))


def test_text_that_is_not_toml_is_refused() -> None:
    with pytest.raises(ManifestError, match="not TOML"):
        parse_manifest("name = ")


def test_the_catalogue_has_every_file_under_the_name_inside_it() -> None:
    files = [file.name for file in resources.files("models").joinpath("catalogue").iterdir()]
    known = catalogue()
    assert sorted(f"{name}.toml" for name in known) == sorted(files)
    assert all(name == manifest.name for name, manifest in known.items())
    assert list(known) == sorted(known)


def test_the_default_model_has_the_facts_of_its_file() -> None:
    manifest = find_manifest("smollm2-135m-instruct")
    assert manifest.digest.hex() == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert (manifest.size_bytes, manifest.context_tokens) == (98362432, 8192)
    assert (manifest.licence, manifest.quantisation) == ("Apache-2.0", "Q4_1")
    assert isinstance(manifest.source, tuple)
    assert [part.member.endswith(".gguf") for part in manifest.source] == [True]


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(ManifestError) as raised:
        find_manifest("gpt-9")
    assert 'no model "gpt-9"' in str(raised.value)
    assert all(name in str(raised.value) for name in catalogue())
