# SPDX-License-Identifier: Apache-2.0
"""One mistake, tried in a process of its own: that of the measuring run, as it was, but for the mistake.

In a function's body, the function gets other code. In a table, the module's assignments run again, and those
of the modules that use them. In a class, every module of the project is imported anew.
"""

import ast
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Final

import pytest
from _pytest.runner import runtestprotocol
from cryptography.hazmat.primitives.asymmetric import rsa
from typing_extensions import override

from tests.mutation.mistakes import Kind, Mistake, assignments

OWN = (
    "attestation",
    "enclave",
    "host",
    "models",
    "sottovoce",
    "tests.fakes",
    "tests.unit",
    "tests.attacks",
    "wire",
)
NOTICED, UNNOTICED = 1, 0


def memories() -> list[Callable[[], None]]:
    """How to make the functions that remember results forget them: they would hide a mistake."""
    modules = own_modules("attestation", "wire")
    return [
        value.cache_clear
        for module in modules
        for value in vars(module).values()
        if hasattr(value, "cache_clear")
    ]


def own_modules(*packages: str) -> list[ModuleType]:
    """The imported modules of these packages."""
    return [
        module
        for name, module in list(sys.modules.items())
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    ]


def noticed(mistake: Mistake, tests: Sequence[pytest.Item], cpu_seconds: float, keys: "Keys") -> bool:
    """Whether one of the tests fails, or the process dies or takes too long."""
    process = os.fork()
    if not process:
        outcome = NOTICED
        try:
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            _be_silent()
            outcome = _RUNS[mistake.kind](mistake, tests, keys)
        finally:
            os._exit(outcome)
    return os.waitpid(process, 0)[1] != 0


def _be_silent() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _with_function(mistake: Mistake, tests: Sequence[pytest.Item], _keys: "Keys") -> int:
    module = sys.modules[_module_name(mistake.path)]
    _function(module, mistake.function).__code__ = _code(mistake.code, mistake.function)
    return _run(tests)


def _with_table(mistake: Mistake, tests: Sequence[pytest.Item], _keys: "Keys") -> int:
    """Assign anew, here and wherever something was made of what this module assigns."""
    names = _assign(sys.modules[_module_name(mistake.path)], mistake.code)
    for module in own_modules("attestation"):
        same = {name for name, (old, _) in names.items() if vars(module).get(name) is old}
        if not same:
            continue
        table = assignments(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")))
        imported = same - _assigned(table)  # equal small numbers are one, whoever named them
        if imported:
            vars(module).update({name: names[name][1] for name in imported})
            names |= _assign(module, compile(table, str(module.__file__), "exec"))
    return _run(tests)


def _assigned(table: ast.Module) -> set[str]:
    """The names that a module gives itself."""
    stored = (node for node in ast.walk(table) if isinstance(node, ast.Name))
    return {node.id for node in stored if isinstance(node.ctx, ast.Store)}


def _assign(module: ModuleType, code: CodeType) -> dict[str, tuple[object, object]]:
    """What was assigned under each name before and is now."""
    before = dict(vars(module))
    exec(code, vars(module))
    return {
        name: (before[name], value)
        for name, value in vars(module).items()
        if name in before and value is not before[name]
    }


def _run(tests: Sequence[pytest.Item]) -> int:
    remembered = memories()
    for test in tests:
        for forget in remembered:
            forget()
        if any(report.failed for report in runtestprotocol(test, log=False, nextitem=None)):
            return NOTICED
    return UNNOTICED


def _with_module(mistake: Mistake, tests: Sequence[pytest.Item], keys: "Keys") -> int:
    for module in own_modules(*OWN):
        del sys.modules[module.__name__]
    sys.meta_path.insert(0, _Finder(mistake))
    pytest.MonkeyPatch().setattr(rsa, "generate_private_key", keys.take)
    wanted = {test.nodeid for test in tests}
    files = sorted({nodeid.partition("::")[0] for nodeid in wanted})
    options = ["-x", "-q", "-p", "no:cacheprovider", "--timeout=0"]
    return UNNOTICED if pytest.main([*options, *files], plugins=[_Selection(wanted)]) == 0 else NOTICED


def _module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def _function(module: ModuleType, qualified_name: str) -> FunctionType:
    found: object = module
    for name in qualified_name.split("."):
        found = vars(found)[name]
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__wrapped__", getattr(found, "__func__", found))
    if not isinstance(found, FunctionType):
        raise TypeError(f"expected a function at {qualified_name}")
    return found


def _code(code: CodeType, qualified_name: str) -> CodeType:
    for name in qualified_name.split("."):
        code = next(item for item in code.co_consts if isinstance(item, CodeType) and item.co_name == name)
    return code


class Keys:
    """The RSA keys that the measuring run made: simulated vendors take a second for each of theirs."""

    def __init__(self) -> None:
        self._made: list[rsa.RSAPrivateKey] = []
        self._make = rsa.generate_private_key

    def make(self, public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        """A new key, kept."""
        self._made.append(self._make(public_exponent, key_size))
        return self._made[-1]

    def take(self, public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        """One that was kept, and not taken before."""
        fitting = [key for key in self._made if key.key_size == key_size]
        if not fitting:
            return self._make(public_exponent, key_size)
        self._made.remove(fitting[0])
        return fitting[0]


class _Finder(MetaPathFinder):
    def __init__(self, mistake: Mistake) -> None:
        self._mistake = mistake

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _module_name(self._mistake.path):
            return None
        loader = _Loader(fullname, str(self._mistake.path.resolve()), self._mistake.code)
        return importlib.util.spec_from_loader(fullname, loader)


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, code: CodeType) -> None:
        super().__init__(fullname, path)
        self._code = code

    @override
    def get_code(self, fullname: str) -> CodeType:
        return self._code


class _Selection:
    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests that reach the module."""
        items[:] = [item for item in items if item.nodeid in self._wanted]


_RUNS: Final = MappingProxyType(
    {Kind.FUNCTION: _with_function, Kind.TABLE: _with_table, Kind.MODULE: _with_module}
)
