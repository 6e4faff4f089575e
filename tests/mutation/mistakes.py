# SPDX-License-Identifier: Apache-2.0
"""The mistakes that can be made in a module: a bound off by one, a check left out, a wrong bit.

Words for people are left alone: what a check says is not what it decides.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import CodeType
from typing import Final, TypeGuard

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: Final[dict[type[ast.operator], ast.operator]] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.BitAnd: ast.BitOr(),
    ast.BitOr: ast.BitAnd(),
    ast.LShift: ast.RShift(),
    ast.RShift: ast.LShift(),
}
_FUNCTIONS: Final = {"any": "all", "all": "any", "min": "max", "max": "min"}
_DECISIONS: Final = {"UNTRUSTED": "EXPIRED", "EXPIRED": "UNTRUSTED"}


class Kind(Enum):
    """What has to be made anew for a mistake to show."""

    FUNCTION = "the code of a function"
    TABLE = "what the module assigns"
    MODULE = "the module, and whatever was imported after it: classes, and functions that make its tables"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A module with one mistake in it; for a table, its assignments alone. `function` is where it is."""

    path: Path
    line: int
    what: str
    kind: Kind
    function: str
    code: CodeType

    def describe(self, text: str) -> tuple[str, str, str]:
        """Module, line of code and change: the same as long as the line of code is."""
        return ".".join(self.path.with_suffix("").parts), text.splitlines()[self.line - 1].strip(), self.what


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node hangs in its tree."""

    parent: ast.AST
    field: str
    index: int | None

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True, slots=True)
class _Visit:
    node: ast.AST
    place: _Place
    function: str


def mistakes(path: Path) -> Iterator[Mistake]:
    """Every mistake in the module at `path`, one at a time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for visit in list(_visits(tree, "", "")):
        for what, wrong in _wrong_nodes(visit):
            if not isinstance(wrong, ast.comprehension):
                ast.copy_location(wrong, visit.node)
            visit.place.put(wrong)
            ast.fix_missing_locations(tree)
            line = _line(visit.node)
            kind = _kind(tree, line, visit.function)
            code = compile(assignments(tree) if kind is Kind.TABLE else tree, str(path), "exec")
            visit.place.put(visit.node)
            yield Mistake(path, line, what, kind, visit.function, code)


def _line(node: ast.AST) -> int:
    if isinstance(node, ast.comprehension):
        return node.iter.lineno
    return node.lineno if isinstance(node, ast.stmt | ast.expr) else 1


def assignments(tree: ast.Module) -> ast.Module:
    """The module without its functions and classes."""
    kept = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    return ast.Module(body=[*kept], type_ignores=[])


def _kind(tree: ast.Module, line: int, function: str) -> Kind:
    if function:
        return Kind.MODULE if function in _run_on_import(tree) else Kind.FUNCTION
    around = [node for node in assignments(tree).body if node.lineno <= line <= (node.end_lineno or 0)]
    named = {node.id for entry in around for node in ast.walk(entry) if isinstance(node, ast.Name)}
    return Kind.TABLE if around and not named & _kept_by_definitions(tree) else Kind.MODULE


def _kept_by_definitions(tree: ast.Module) -> set[str]:
    """Names whose values classes and functions keep from when they were made: defaults, for one."""
    kept = list[ast.expr | None]()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(args=arguments, decorator_list=decorators):
                kept += [*arguments.defaults, *arguments.kw_defaults, *decorators]
            case ast.ClassDef(body=body):
                kept += [entry.value for entry in body if isinstance(entry, ast.Assign | ast.AnnAssign)]
            case _:
                pass
    return {
        name.id
        for value in kept
        if value is not None
        for name in ast.walk(value)
        if isinstance(name, ast.Name)
    }


def _run_on_import(tree: ast.Module) -> set[str]:
    """The functions whose results the module keeps: other code in them would come too late."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    called = set[str]()
    new = _called(assignments(tree)) & functions.keys()
    while new:
        called |= new
        new = set[str]().union(*(_called(functions[name]) for name in new)) & functions.keys() - called
    return called


def _called(tree: ast.AST) -> set[str]:
    """The names that are called as functions."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}


def _visits(parent: ast.AST, scope: str, function: str) -> Iterator[_Visit]:
    """All nodes that run, without types, words for people, and what only names things."""
    for field, value in ast.iter_fields(parent):
        if field in {"annotation", "returns", "type_params", "decorator_list"}:
            continue
        several = _is_list(value)
        for index, node in enumerate(value if _is_list(value) else [value]):
            if not isinstance(node, ast.AST) or _is_words(parent, node):
                continue
            within, outer = scope, function
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                within = f"{scope}.{node.name}" if scope else node.name
            if isinstance(node, ast.stmt) and isinstance(parent, ast.FunctionDef) and not function:
                outer = scope
            yield _Visit(node, _Place(parent, field, index if several else None), outer)
            yield from _visits(node, within, outer)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _is_words(parent: ast.AST, node: ast.AST) -> bool:
    """Docstrings, what is imported and exported, types, and the choice between two texts."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.JoinedStr():
            return True
        case ast.BoolOp(values=[*_, last]):
            return _is_text(last)
        case ast.IfExp(body=body, orelse=other):
            return _is_text(body) and _is_text(other)
        case _:
            types = isinstance(parent, ast.AnnAssign) and ast.unparse(parent.annotation) == "TypeAlias"
            names = isinstance(parent, ast.Assign) and ast.unparse(parent.targets[0]) == "__all__"
            return types or names or isinstance(parent, ast.Raise)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _wrong_nodes(visit: _Visit) -> Iterator[tuple[str, ast.AST]]:
    """What could stand in place of a node. Without words for it, the code says what changed."""
    node = visit.node
    match node:
        case ast.expr():
            for wrong in (*_wrong_operators(node), *_wrong_values(node)):
                yield f"{_short(node)} becomes {_short(wrong)}", wrong
            if not visit.function:
                yield from _shorter(node)
        case ast.If():
            yield "condition reversed", ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.Raise():
            yield "no exception", ast.Pass()
        case ast.Expr(value=ast.Call()):
            yield "call left out", ast.Pass()
        case ast.comprehension(ifs=[condition, *others]):
            wrong_conditions = [ast.UnaryOp(ast.Not(), condition), *others]
            yield (
                f"if {_short(condition)} reversed",
                ast.comprehension(node.target, node.iter, wrong_conditions, node.is_async),
            )
        case _:
            pass


def _wrong_operators(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                wrong = _COMPARISONS[type(operator)]()
                yield ast.Compare(
                    node.left, [*node.ops[:index], wrong, *node.ops[index + 1 :]], node.comparators
                )
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(node.op)], node.right)
        case ast.IfExp():
            yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case _:
            pass


def _wrong_values(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int(number)):
            yield ast.Constant(number + 1)
            yield ast.Constant(number - 1)
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            yield ast.Call(ast.Name(_FUNCTIONS[name], ast.Load()), node.args, node.keywords)
        case ast.Attribute(value=ast.Name(id="Decision")):
            yield ast.Attribute(node.value, _DECISIONS.get(node.attr, "UNTRUSTED"), ast.Load())
        case _:
            pass


def _shorter(node: ast.expr) -> Iterator[tuple[str, ast.AST]]:
    """Tables of a module with one member fewer."""
    if isinstance(node, ast.Dict):
        for index, member in enumerate(node.values):
            keys, values = node.keys[:], node.values[:]
            del keys[index], values[index]
            yield f"member left out: {_short(member)[:60]}", ast.Dict(keys, values)
    elif isinstance(node, ast.Tuple | ast.List | ast.Set) and _is_value(node) and len(node.elts) > 1:
        for index, member in enumerate(node.elts):
            elements = [*node.elts[:index], *node.elts[index + 1 :]]
            wrong = ast.Set(elements) if isinstance(node, ast.Set) else type(node)(elements, ast.Load())
            yield f"member left out: {_short(member)[:60]}", wrong


def _is_value(node: ast.Tuple | ast.List | ast.Set) -> bool:
    """Not names that something is assigned to."""
    return isinstance(node, ast.Set) or isinstance(node.ctx, ast.Load)


def _short(node: ast.AST) -> str:
    """The node as code, on one line."""
    return " ".join(ast.unparse(node).split())
