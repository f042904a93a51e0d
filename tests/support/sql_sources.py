"""Where the words of every statement come from: what is not written in our own code, and quoted by nobody, is named.

A reader of Python's syntax, not of what runs: it follows names to what is assigned to them in the same function, class or
module, and constants into the modules that they are imported from. What it cannot follow is a source, so it errs by naming
too much.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Methods that send their first argument to a server as a statement.
_SENDS = {"execute", "executemany", "copy", "exec_", "exec_params"}
# Of psycopg: their results are quoted, or put together by SQL.format, whose arguments are quoted, too.
_QUOTED = {"Identifier", "Literal", "Placeholder", "load_sql"}
_TYPED_SAFE = {"Composed", "Composable", "SQL", "LiteralString"}
# Whatever they are called on decides.
_PASSES = {"encode", "strip", "removesuffix", "removeprefix", "as_string", "as_bytes", "partition"}
_DEEPEST = 12
_SPEAKS = re.compile(r"\.(?:execute|executemany|copy|exec_|exec_params)\(|SQL\(")


@dataclass
class Module:
    """One file."""

    name: str
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[ast.FunctionDef | None, ast.Call]] = field(default_factory=list)


class Modules(dict[str, Module]):
    """The modules of some rooms of the house: those that speak SQL at once, others when one of these asks for them."""

    def __init__(self, root: Path, rooms: tuple[str, ...]) -> None:
        super().__init__()
        self._root = root
        for path in (path for room in rooms for path in sorted((root / room).rglob("*.py"))):
            if _SPEAKS.search(path.read_text(encoding="utf-8")):
                self.find(".".join(path.relative_to(root).with_suffix("").parts))

    def find(self, name: str) -> Module | None:
        """One of the house by its name."""
        path = self._root / (name.replace(".", "/") + ".py")
        if name and name not in self and path.is_file():
            self[name] = _module(name, ast.parse(path.read_text(encoding="utf-8")))
        return self.get(name)


def _module(name: str, tree: ast.Module) -> Module:
    module = Module(name=name)
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            module.constants[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            module.constants[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom) and node.module:
            module.imported |= {one.asname or one.name: f"{node.module}:{one.name}" for one in node.names}
    _walk(module, tree, None)
    return module


def _walk(module: Module, node: ast.AST, inside: ast.FunctionDef | None) -> None:
    if isinstance(node, ast.FunctionDef):
        module.functions.setdefault(node.name, node)
        inside = node
    elif isinstance(node, ast.ClassDef):
        for one in node.body:
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                module.fields[one.target.id] = ast.unparse(one.annotation)
    elif isinstance(node, ast.Call):
        module.calls.append((inside, node))
    for child in ast.iter_child_nodes(node):
        _walk(module, child, inside)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def unquoted_sources(modules: Modules) -> set[str]:
    """`module.function: source` of everything that becomes SQL and that none of our own texts says."""
    found = set()
    for module in list(modules.values()):
        for function, call in module.calls:
            name = _called(call)
            is_sent = name in _SENDS and isinstance(call.func, ast.Attribute) and not _is_no_server(call.func)
            if not call.args or not (is_sent or name == "SQL"):
                continue
            scope = _Scope(modules, module, function)
            where = f"{module.name}.{function.name if function else 'module'}"
            found |= {f"{where}: {one}" for one in scope.sources(call.args[0], _DEEPEST)}
    return found


def _is_no_server(called: ast.Attribute) -> bool:
    return ast.unparse(called.value) in {"shutil", "contextvars", "super()"}


@dataclass
class _Scope:
    modules: Modules
    module: Module
    function: ast.FunctionDef | None
    # What is being followed: a name that leads back to itself adds nothing.
    under_way: frozenset[tuple[str, str]] = frozenset()

    def sources(self, value: ast.expr, depth: int) -> set[str]:  # noqa: C901, PLR0911, PLR0912 - a case a kind
        """What an expression's text is made of that is not ours."""
        if depth == 0:
            return {ast.unparse(value)}
        match value:
            case ast.Constant():
                return set()
            case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.BoolOp(values=parts):
                return self._all(parts, depth)
            case ast.FormattedValue(value=inner) | ast.Starred(value=inner) | ast.Await(value=inner):
                return self.sources(inner, depth - 1)
            case ast.NamedExpr(value=inner):
                return self.sources(inner, depth - 1)
            case ast.BinOp(left=left, right=right):
                return self._all([left, right], depth)
            case ast.IfExp(body=body, orelse=orelse):
                return self._all([body, orelse], depth)
            case ast.Dict(values=values):
                return self._all(values, depth)
            case ast.GeneratorExp(elt=elt) | ast.ListComp(elt=elt):
                return self.sources(elt, depth - 1)
            case ast.Subscript(value=ast.Name(id=name) as inner) if name.isupper() or name.strip("_").isupper():
                return self.sources(inner, depth - 1)
            case ast.Name(id=name):
                return self._name(name, depth)
            case ast.Attribute(attr=attr) if self._is_safe_type(self.module.fields.get(attr, "")):
                return set()
            case ast.Call():
                return self._call(value, depth)
        return {ast.unparse(value)}

    def _all(self, parts: list[ast.expr], depth: int) -> set[str]:
        return {source for part in parts for source in self.sources(part, depth - 1)}

    def _call(self, call: ast.Call, depth: int) -> set[str]:  # noqa: PLR0911 - one after the other
        name = _called(call)
        if name in _QUOTED or name == "SQL":  # whose own argument is looked at where it is called
            return set()
        if isinstance(call.func, ast.Attribute) and name in {"format", "join"}:
            base = self.sources(call.func.value, depth - 1)
            given = [*call.args, *(one.value for one in call.keywords)]
            # psycopg's quotes what it is given; a text's does not.
            return base if self._is_composable(call.func.value, depth) else base | self._all(given, depth)
        if isinstance(call.func, ast.Attribute) and name in _PASSES:
            return self.sources(call.func.value, depth - 1)
        made = self.module.functions.get(name)
        if made is not None and made.returns is not None and self._is_safe_type(ast.unparse(made.returns)):
            return set()
        if made is not None and made is not self.function:
            inner = _Scope(self.modules, self.module, made, self.under_way)
            returned = [one.value for one in ast.walk(made) if isinstance(one, ast.Return) and one.value]
            parameters = {one.arg for one in [*made.args.args, *made.args.kwonlyargs]}
            found = {source for one in returned for source in inner.sources(one, depth - 1)}
            own = {one for one in found if one.split(".")[0].split("(")[0] in parameters}
            return (found - own) | (
                self._all([*call.args, *(one.value for one in call.keywords)], depth) if own else set()
            )
        imported = self.module.imported.get(name, "")
        other = self.modules.find(imported.partition(":")[0])
        returned_type = other.functions[name].returns if other and name in other.functions else None
        if returned_type is not None and self._is_safe_type(ast.unparse(returned_type)):
            return set()
        return {f"{ast.unparse(call.func)}()"}

    def _is_composable(self, value: ast.expr, depth: int) -> bool:  # noqa: PLR0911 - a case a kind
        if depth == 0:
            return False
        match value:
            case ast.Call(func=func):
                name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
                return name == "SQL" or (
                    name in {"format", "join"}
                    and isinstance(func, ast.Attribute)
                    and self._is_composable(func.value, depth - 1)
                )
            case ast.Name(id=name):
                values = self._assigned(name)
                if values:
                    return all(self._is_composable(one, depth - 1) for one in values)
                return self._is_safe_type(self._annotation(name))
            case ast.Attribute(attr=attr):
                return self._is_safe_type(self.module.fields.get(attr, ""))
            case ast.IfExp(body=body, orelse=orelse):
                return self._is_composable(body, depth - 1) and self._is_composable(orelse, depth - 1)
        return False

    def _name(self, name: str, depth: int) -> set[str]:
        step = (self.function.name if self.function else "", name)
        if step in self.under_way or self._is_safe_type(self._annotation(name)):
            return set()
        inner = _Scope(self.modules, self.module, self.function, self.under_way | {step})
        if values := self._assigned(name):
            return inner._all(values, depth)
        if self._annotation(name) and self.function and self.function.name.startswith("_"):
            # Nobody calls it but this module.
            given = list(self._given(self.function, name))
            if given and all(value is not None for _, value in given):
                return {
                    source
                    for caller, value in given
                    for source in _Scope(self.modules, self.module, caller, inner.under_way).sources(value, depth - 1)
                }
        if name in self.module.imported:
            module, _, original = self.module.imported[name].partition(":")
            if (other := self.modules.find(module)) and original in other.constants:
                return _Scope(self.modules, other, None).sources(other.constants[original], depth - 1)
        return {name}

    def _given(self, called: ast.FunctionDef, name: str) -> Iterator[tuple[ast.FunctionDef | None, ast.expr | None]]:
        """What every caller in this module gives for a parameter, and in which function it does."""
        names = [one.arg for one in called.args.args if one.arg != "self"]
        for caller, call in self.module.calls:
            if _called(call) != called.name:
                continue
            by_name = {one.arg: one.value for one in call.keywords}
            place = names.index(name) if name in names else len(call.args)
            value = by_name.get(name) or (call.args[place] if place < len(call.args) else None)
            yield caller, value

    def _annotation(self, name: str) -> str:
        arguments = self.function.args if self.function else None
        for one in [*arguments.args, *arguments.kwonlyargs] if arguments else []:
            if one.arg == name and one.annotation:
                return ast.unparse(one.annotation)
        return ""

    def _assigned(self, name: str) -> list[ast.expr]:
        """Whatever a name is made in this function, else in the module."""
        found: list[ast.expr] = []
        for node in ast.walk(self.function) if self.function else ():
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    found += _bound(name, target, node.value)
            elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
                found += _bound(name, node.target, node.value)
            elif isinstance(node, ast.For | ast.comprehension):
                found += _bound(name, node.target, node.iter)
        if not found and name in self.module.constants and not self._annotation(name):
            return [self.module.constants[name]]
        return found

    @staticmethod
    def _is_safe_type(annotation: str) -> bool:
        names = (
            annotation.replace("|", " ")
            .replace("sql.", "")
            .replace("tuple[", "")
            .replace("]", " ")
            .replace(", ...", "")
            .split()
        )
        return bool(names) and all(one in _TYPED_SAFE for one in names)


def _bound(name: str, target: ast.expr, value: ast.expr) -> list[ast.expr]:
    """What a name becomes by an assignment or a loop."""
    if isinstance(target, ast.Name):
        return [value] if target.id == name else []
    if isinstance(target, ast.Tuple):
        names = [one.id if isinstance(one, ast.Name) else "" for one in target.elts]
        if name not in names:
            return []
        if isinstance(value, ast.Tuple) and len(value.elts) == len(names):
            return [value.elts[names.index(name)]]
        return [value]
    return []
