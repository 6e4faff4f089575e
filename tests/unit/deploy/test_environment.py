# SPDX-License-Identifier: Apache-2.0
"""Making the environment: what names it, and the sentences when it cannot be made."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that the environment is made from, where nothing has been made yet."""
    root = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "deploy", root / "deploy", ignore=ignored)
    shutil.copytree(ROOT / "requirements", root / "requirements")
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def run(root: Path, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with the copied set-up, on an isolated interpreter with the standard library alone."""
    command = [
        sys.executable,
        "-I",
        "-S",
        "-B",
        "-c",
        f"import sys; sys.path.insert(0, {str(root)!r})\n{program}",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def digest(root: Path) -> str:
    done = run(root, "from deploy.environment import inputs_digest; print(inputs_digest())")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_change_of_any_input_names_another_environment(copy: Path) -> None:
    digests = [digest(copy)]
    for name in ("requirements/dev.txt", "deploy/environment.py", "deploy/llama/build.py"):
        with (copy / name).open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        digests.append(digest(copy))
    project = (copy / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("dependencies = [", "requires = ["):
        (copy / "pyproject.toml").write_text(project.replace(name, f'{name}"more", '), encoding="utf-8")
        digests.append(digest(copy))
    (copy / "requirements" / "more.txt").touch()
    digests.append(digest(copy))
    assert len(set(digests)) == len(digests)


def test_other_files_do_not_matter(copy: Path) -> None:
    before = digest(copy)
    (copy / "deploy" / "notes.md").touch()
    (copy / "README.md").touch()
    with (copy / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("[tool.other]\nsetting = 1\n")
    assert digest(copy) == before


def test_an_environment_that_stands_is_left_as_it_is(copy: Path) -> None:
    stamp = copy / ".venv" / "ready"
    stamp.parent.mkdir()
    stamp.write_text(digest(copy).strip(), encoding="ascii")
    done = run(copy, "from deploy.environment import main; sys.exit(main())")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in stamp.parent.iterdir()] == ["ready"]


def test_set_up_needs_the_standard_library_alone(copy: Path) -> None:
    done = run(copy, "import deploy.environment; print(*sys.modules)")
    names = {name.partition(".")[0] for name in done.stdout.split()}
    assert names - set(sys.stdlib_module_names) == {"__main__", "deploy"}
