# SPDX-License-Identifier: Apache-2.0
"""The enclave's configuration: a closed schema, and combinations that may not be."""

from pathlib import Path

import pytest

from enclave.config import (
    ConfigError,
    HardwareTee,
    SimulatedTee,
    configuration_digest,
    parse_config,
    read_config,
)

TOP = {
    "production": "false",
    "link": '"unix:/run/enclave.sock"',
    "audience": '"https://llm.example"',
    "deployment": '"ward-7"',
}
TEE = {"kind": '"simulated-sev-snp"', "folder": '"/var/lib/vendor"'}
MODEL = {"name": '"smollm2-135m-instruct"', "weights": '"/models/weights.gguf"'}
ENGINE = {"context_tokens": "2048", "threads": "2", "waiting_requests": "3"}

Table = dict[str, str]


def toml(top: Table = TOP, tee: Table = TEE, model: Table = MODEL, engine: Table | None = None) -> str:
    def lines(table: Table) -> str:
        return "".join(f"{key} = {value}\n" for key, value in table.items())

    tables = {"tee": tee, "model": model} | ({} if engine is None else {"engine": engine})
    return lines(top) + "".join(f"[{name}]\n{lines(table)}" for name, table in tables.items())


def without(table: Table, key: str) -> Table:
    return {name: value for name, value in table.items() if name != key}


def test_every_setting_of_the_text_is_in_the_configuration() -> None:
    config = parse_config(toml(engine=ENGINE))
    assert config.production is False
    assert (config.link, config.audience) == ("unix:/run/enclave.sock", "https://llm.example")
    assert (config.deployment, config.tee) == ("ward-7", SimulatedTee(folder="/var/lib/vendor"))
    assert (config.model.name, config.model.manifest) == ("smollm2-135m-instruct", None)
    assert config.model.weights == "/models/weights.gguf"
    assert (config.engine.context_tokens, config.engine.threads) == (2048, 2)
    assert config.engine.waiting_requests == 3


def test_the_engine_has_defaults() -> None:
    engine = parse_config(toml()).engine
    assert (engine.context_tokens, engine.threads, engine.waiting_requests) == (4096, "auto", 16)


@pytest.mark.parametrize("key", TOP)
def test_each_setting_is_required(key: str) -> None:
    with pytest.raises(ConfigError, match=f"missing required field `{key}`"):
        parse_config(toml(top=without(TOP, key)))


@pytest.mark.parametrize("table", ["tee", "model"])
def test_each_table_is_required(table: str) -> None:
    text = toml()
    start = text.index(f"[{table}]")
    end = text.find("[", start + 1)
    with pytest.raises(ConfigError, match=f"missing required field `{table}`"):
        parse_config(text[:start] + (text[end:] if end > 0 else ""))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (toml(top=TOP | {"debug": "true"}), "debug"),
        (toml(tee=TEE | {"accept": '"anything"'}), "accept"),
        (toml(model=MODEL | {"url": '"https://elsewhere.example"'}), "url"),
        (toml(engine={"thread": "2"}), "thread"),
    ],
)
def test_unknown_settings_are_named(written: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown field `{name}`"):
        parse_config(written)


@pytest.mark.parametrize("production", ["true", "false"])
def test_hardware_has_no_settings_of_its_own(production: str) -> None:
    tee = {"kind": '"hardware"'}
    assert parse_config(toml(top=TOP | {"production": production}, tee=tee)).tee == HardwareTee()
    for setting in ("folder", "path", "device", "fallback"):
        with pytest.raises(ConfigError, match=f"unknown field `{setting}`"):
            parse_config(toml(tee=tee | {setting: '"/var/lib/vendor"'}))


def test_production_needs_hardware() -> None:
    with pytest.raises(ConfigError, match="production needs a hardware TEE"):
        parse_config(toml(top=TOP | {"production": "true"}))


def test_a_model_has_a_catalogue_name_or_a_manifest_of_its_own() -> None:
    manifest = {"manifest": '"/etc/model.toml"'}
    assert parse_config(toml(model=without(MODEL, "name") | manifest)).model.manifest == "/etc/model.toml"
    for model in (MODEL | manifest, without(MODEL, "name")):
        with pytest.raises(ConfigError, match="exactly one of name and manifest"):
            parse_config(toml(model=model))


@pytest.mark.parametrize(
    "link", ["unix:/run/e.sock", "tcp:127.0.0.1:7000", "tcp:[::1]:7000", "vsock:4294967295:5000"]
)
def test_forms_of_the_link(link: str) -> None:
    assert parse_config(toml(top=TOP | {"link": f'"{link}"'})).link == link


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("link", '""'),
        ("link", '"unix:relative.sock"'),
        ("link", f'"unix:/{"a" * 101}"'),
        ("link", '"tcp:localhost"'),
        ("link", '"tcp:localhost:7000\\n"'),
        ("link", '"vsock:host:5000"'),
        ("link", '"http:localhost:80"'),
        ("audience", '"llm.example"'),
        ("audience", '"https://llm.example/"'),
        ("audience", '"https://LLM.example"'),
        ("audience", '"https://llm.example\\n"'),
        ("deployment", '""'),
        ("deployment", '"two words"'),
        ("deployment", '"ward-7\\n"'),
        ("deployment", f'"{"a" * 65}"'),
        ("production", "0"),
        ("production", '"false"'),
    ],
)
def test_settings_of_another_form_are_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"`\$\.{key}`"):
        parse_config(toml(top=TOP | {key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("context_tokens", "63"),
        ("context_tokens", "true"),
        ("context_tokens", "1048577"),
        ("threads", "0"),
        ("threads", "true"),
        ("threads", '"all"'),
        ("waiting_requests", "-1"),
        ("waiting_requests", "1.5"),
    ],
)
def test_numbers_of_the_engine_have_limits(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"`\$\.engine\.{key}`"):
        parse_config(toml(engine={key: value}))


@pytest.mark.parametrize(
    "tee", [TEE | {"kind": '"sev-snp"'}, without(TEE, "folder"), TEE | {"folder": '"relative"'}]
)
def test_other_kinds_of_tee_are_refused(tee: Table) -> None:
    with pytest.raises(ConfigError, match=r"\$\.tee"):
        parse_config(toml(tee=tee))


@pytest.mark.parametrize("text", ["production", "production = ", "[tee]\n[tee]\n"])
def test_text_that_is_not_toml_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "enclave.toml"
    with pytest.raises(ConfigError, match=r"enclave\.toml cannot be read"):
        read_config(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"enclave\.toml cannot be read"):
        read_config(path)
    path.write_text(toml(), encoding="utf-8")
    assert read_config(path) == parse_config(toml())


def test_the_digest_tells_configurations_and_protections_apart() -> None:
    config, other = parse_config(toml()), parse_config(toml(top=TOP | {"deployment": '"ward-8"'}))
    granted, refused = {"session no_files": "granted"}, {"session no_files": "refused"}
    digests = {
        configuration_digest(config, granted),
        configuration_digest(config, refused),
        configuration_digest(other, granted),
        configuration_digest(parse_config(toml(engine={"waiting_requests": "17"})), granted),
    }
    assert len(digests) == 4
    assert {len(digest) for digest in digests} == {32}


def test_the_digest_does_not_depend_on_how_the_same_settings_were_written() -> None:
    explicit = toml(engine={"waiting_requests": "16", "threads": '"auto"', "context_tokens": "4096"})
    protections = {"a": "granted", "b": "refused"}
    turned = {"b": "refused", "a": "granted"}
    assert configuration_digest(parse_config(explicit), protections) == configuration_digest(
        parse_config(toml()), turned
    )
