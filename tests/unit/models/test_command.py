# SPDX-License-Identifier: Apache-2.0
"""The command `sottovoce-models`, as a program."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pytest

from models.fetch import weights_path
from models.library import add_manifest, find_known, known_manifests
from models.manifest import ManifestError, find_manifest, parse_manifest, render_manifest
from tests.fakes.gguf import Parts

MODEL = "smollm2-135m-instruct"
GEMMA = "gemma-3-270m"
ACCEPTED = "SOTTOVOCE_TEST_ACCEPT_GEMMA_TERMS"


class Listed(TypedDict):
    """One model of a list."""

    name: str
    fetched: bool


class Answer(TypedDict):
    """What the commands say to programs; each says a part of this."""

    path: str
    name: str
    licence: str
    tools: str
    quantisation: str
    verified: bool
    error: str
    exit_code: int
    models: list[Listed]
    measured: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Place:
    """Folders of one test, with a small sound model file."""

    cache: Path
    config: Path
    file: Path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Nothing of the user's own is read or written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "Tiny.gguf"
    file.write_bytes(Parts().file())
    return Place(tmp_path / "cache", tmp_path / "config", file)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, answer, and what was said beside it."""
    command = [sys.executable, "-P", "-m", "models", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    return done.returncode, done.stdout, done.stderr


def run_json(*arguments: str | Path) -> tuple[int, Answer]:
    """Exit code and the one JSON object."""
    code, answer, said = run(*arguments, "--json")
    assert said == ""
    document: Answer = json.loads(answer)
    return code, document


def test_help_teaches() -> None:
    code, answer, _ = run("--help")
    assert code == 0
    for word in ("list", "fetch", "verify", "manifest", "requantise", "examples:", "exit codes:"):
        assert word in answer
    for command in ("list", "fetch", "verify", "manifest", "requantise"):
        assert run(command, "--help")[0] == 0
    assert run("list", "--unknown")[0] == 2


def test_a_model_of_ones_own_from_file_to_verified_weights(place: Place) -> None:
    code, text, _ = run("manifest", place.file)
    assert code == 0
    assert parse_manifest(text).name == "tiny"
    code, written, _ = run("manifest", place.file, "--add", "--name", "mine", "--licence", "MIT")
    assert (code, Path(written.strip())) == (0, place.config / "sottovoce" / "models" / "mine.toml")
    code, document = run_json("fetch", "mine")
    assert code == 0
    assert Path(document["path"]).read_bytes() == place.file.read_bytes()
    assert (document["licence"], document["tools"]) == ("MIT", "none")
    code, document = run_json("verify", "mine")
    assert (code, document["verified"]) == (0, True)
    code, answer, _ = run("verify", place.file)
    assert code == 0
    assert "VERIFIED" in answer
    code, document = run_json("list")
    assert [(model["name"], model["fetched"]) for model in document["models"]] == [
        (GEMMA, False),
        ("mine", True),
        (MODEL, False),
    ]
    assert "mine" in run("list")[1]


def test_a_manifest_of_ones_own_is_not_overwritten_by_accident(place: Place) -> None:
    assert run("manifest", place.file, "--add")[0] == 0
    code, document = run_json("manifest", place.file, "--add")
    assert (code, document["exit_code"]) == (20, 20)
    assert run("manifest", place.file, "--add", "--replace")[0] == 0


def test_weights_that_are_not_right_are_refused_with_10(place: Place) -> None:
    assert run("manifest", place.file, "--add", "--name", "mine")[0] == 0
    place.file.write_bytes(place.file.read_bytes()[:-1] + b"\7")
    assert run_json("fetch", "mine")[0] == 10
    assert run_json("verify", place.file)[0] == 10
    place.file.write_bytes(b"no model")
    code, _, said = run("verify", place.file)
    assert code == 10
    assert "does not begin with GGUF" in said


def test_what_cannot_be_had_ends_with_20(place: Place) -> None:
    assert run_json("fetch", "gpt-9")[0] == 20
    assert run_json("verify", MODEL)[0] == 20
    assert run_json("requantise", MODEL)[0] == 20
    assert run_json("verify", place.file.with_name("missing"))[0] == 20
    assert run("fetch", MODEL, "--from", "http://weights.example/a")[0] == 2
    assert run("manifest", place.file, "--name", "../x")[0] == 2


def test_a_manifest_that_says_more_than_the_file_is_refused(place: Place) -> None:
    folder = place.config / "sottovoce" / "models"
    assert run("manifest", place.file, "--add")[0] == 0
    path = folder / "tiny.toml"
    path.write_text(path.read_text().replace("context_tokens = 64", "context_tokens = 4096"))
    code, document = run_json("fetch", "tiny")
    assert code == 10
    assert "context is 64, the manifest says 4096" in document["error"]


def test_own_manifests_cannot_take_a_name_of_the_catalogue(place: Place) -> None:
    folder = place.config / "sottovoce" / "models"
    folder.mkdir(parents=True)
    with pytest.raises(ManifestError, match="in the catalogue already"):
        add_manifest(find_manifest(MODEL))
    (folder / f"{MODEL}.toml").write_text(render_manifest(find_manifest(MODEL)))
    with pytest.raises(ManifestError, match="name of a model in the catalogue"):
        known_manifests()
    (folder / f"{MODEL}.toml").rename(folder / "other.toml")
    with pytest.raises(ManifestError, match="must have its name"):
        known_manifests()
    (folder / "other.toml").write_text("name = ")
    with pytest.raises(ManifestError, match=r"other\.toml: not TOML"):
        known_manifests()


def test_requantising_tells_cost_and_gain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = weights_path(find_manifest(MODEL))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    destination = weights_path(find_manifest(MODEL))
    destination.parent.mkdir(parents=True)
    shutil.copy(weights, destination)
    code, document = run_json("requantise", MODEL, "--type", "Q4_0")
    assert code == 0, document
    assert (document["name"], document["quantisation"]) == (f"{MODEL}-q4_0", "Q4_0")
    old, new = document["measured"]["old"], document["measured"]["new"]
    # A wrong conversion gives thousands; the formats differ by little.
    assert 5 < old["perplexity"] < 80
    assert old["perplexity"] * 0.9 < new["perplexity"] < old["perplexity"] * 1.5
    assert old["tokens"] == new["tokens"] > 1000
    assert min(new["prefill_tokens_per_second"], new["decode_tokens_per_second"]) > 0
    assert run_json("verify", f"{MODEL}-q4_0")[0] == 0
    assert find_known(f"{MODEL}-q4_0").licence == "Apache-2.0"
    assert run_json("requantise", f"{MODEL}-q4_0", "--type", "Q4_0")[0] == 20
    assert [path.suffix for path in sorted(destination.parent.iterdir())] == [".gguf", ".gguf"]


@pytest.mark.skipif(os.environ.get(ACCEPTED) != "yes", reason=f"set {ACCEPTED}=yes to accept Gemma's licence")
def test_gemma_comes_in_parts_and_is_what_its_manifest_says(place: Place) -> None:
    assert run("fetch", GEMMA)[0] == 0
    assert run_json("verify", GEMMA)[0] == 0
    assert place.cache.exists()
