# SPDX-License-Identifier: Apache-2.0
"""Building the inference library: what names a build, and what is said when it cannot be made."""

import io
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from typing_extensions import override

from deploy.llama.build import VARIANT, BuildError, Step, build_key, check_compiler, library_wheel, run
from deploy.llama.reproduce import differences, digests

REQUIREMENT = "llama-cpp-python==0.0.1 --hash=sha256:00\n"


class Terminal(io.StringIO):
    """Standard error of somebody who looks at it."""

    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture
def requirement(tmp_path: Path) -> Path:
    """A locked requirement."""
    path = tmp_path / "llama.txt"
    path.write_text(REQUIREMENT, encoding="ascii")
    return path


def compiler(folder: Path, version: str) -> str:
    """A program in the place of a compiler that only knows its version."""
    path = folder / f"c++-{version}"
    path.write_text(f"#!/bin/sh\necho {version}\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


def test_a_missing_compiler_is_one_sentence_about_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nonexistent")
    with pytest.raises(BuildError) as raised:
        check_compiler()
    assert str(raised.value) == (
        "no working C++ compiler (/nonexistent) was found; on Debian and Ubuntu: apt install g++"
    )


def test_a_compiler_that_cannot_compile_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/bin/false")
    with pytest.raises(BuildError, match="no working C\\+\\+ compiler"):
        check_compiler()


def test_without_a_compiler_nothing_is_downloaded(
    tmp_path: Path, requirement: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nonexistent")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(BuildError, match="apt install"):
        library_wheel(Path("/nonexistent/python"), requirement, Step(total=1))
    assert not (tmp_path / "cache").exists()


def test_a_build_that_was_kept_is_used_again(
    tmp_path: Path, requirement: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "/nonexistent")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "sottovoce" / "llama" / build_key(requirement) / "made.whl"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert library_wheel(Path("/nonexistent/python"), requirement, Step(total=1)) == kept
    assert "compiled earlier" in capsys.readouterr().err


def test_the_name_of_a_build_changes_with_source_and_compiler(
    tmp_path: Path, requirement: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(version: str) -> str:
        monkeypatch.setenv("CXX", compiler(tmp_path, version))
        return build_key(requirement)

    keys = [key("12"), key("13")]
    requirement.write_text(REQUIREMENT.replace("00", "01"), encoding="ascii")
    keys += [key("12"), key("13")]
    assert len(set(keys)) == 4
    assert key("13") == keys[3]


def test_a_step_without_a_terminal_is_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(total=2)
    with step("Compile"):
        for done in range(101):
            step.progress(done, 100)
    printed = capsys.readouterr().err
    lines = printed.splitlines()
    assert lines[0] == "[1/2] Compile ..."
    assert lines[1:-1] == [f"      {done} of 100" for done in range(0, 101, 10)]
    assert lines[-1].startswith("[1/2] Compile: done in ")
    assert "\r" not in printed
    assert "\x1b" not in printed


def test_a_step_on_a_terminal_is_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Terminal()
    monkeypatch.setattr(sys, "stderr", written)
    step = Step(total=2)
    with step("Compile"):
        step.progress(1, 2)
    printed = written.getvalue()
    assert f"\r\x1b[2K[1/2] Compile [{'#' * 12:<24}] 1/2" in printed
    assert printed.count("\n") == 1


def test_steps_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(total=2)
    for title in ("one", "two"):
        with step(title):
            pass
    step.fail("no network; try again")
    printed = capsys.readouterr().err
    assert "[2/2] two ..." in printed
    assert printed.endswith("\nset-up stopped: no network; try again\n")


def test_a_command_that_fails_shows_the_end_of_what_it_printed(tmp_path: Path) -> None:
    program = "for n in range(40): print('line', n)\nraise SystemExit(3)"
    with pytest.raises(BuildError) as raised:
        run([sys.executable, "-c", program], tmp_path)
    said = str(raised.value)
    assert said.startswith(f"{Path(sys.executable).name} failed:")
    assert "line 39" in said
    assert "line 27" not in said
    assert (tmp_path / "log").read_text(encoding="utf-8").count("line") == 40


def test_the_progress_of_a_command_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(total=1)
    with step("Compile"):
        run([sys.executable, "-c", "print('[1/4] a'); print('[4/4] b')"], tmp_path, step)
    assert "      4 of 4\n" in capsys.readouterr().err


def test_only_the_variants_of_confidential_machines_are_kept() -> None:
    recipe = "    ggml_add_cpu_backend_variant(x64)\n    ggml_add_cpu_backend_variant(zen4  SSE42 AVX2)\n"
    assert [found[1] for found in VARIANT.finditer(recipe)] == ["x64", "zen4"]


def test_the_compiler_of_this_machine_is_found() -> None:
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("this machine has no compiler")
    check_compiler()


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    """A wheel with these files in it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_library_that_differs_in_one_bit_is_not_the_same(tmp_path: Path) -> None:
    one = digests(wheel(tmp_path / "one", {"a.so": b"\0", "b.so": b"b"}))
    assert differences(one, digests(wheel(tmp_path / "same", {"b.so": b"b", "a.so": b"\0"}))) == []
    other = digests(wheel(tmp_path / "other", {"a.so": b"\1", "c.so": b"b"}))
    assert differences(one, other) == ["a.so", "b.so", "c.so"]
