"""How a backend spells each kind, read from the tables of its sources, which is neither imported nor run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

from backproof.cases.format.optimizers import KINDS

SETTINGS = {"of", "optimizer", "loss", "schedule", "clip"}  # what a rule calls the concept whose settings it takes


class Spelling(NamedTuple):
    """One kind in one framework.

    Attributes:
        code: an expression, or the statements of a function.
        about: what the source says of it; mostly why the framework's own function is not used.
        refused: the reasons why some settings cannot be expressed, by condition.
        mentions: the source's own functions that the code names.
    """

    code: str
    about: str
    refused: dict[str, str]
    mentions: tuple[str, ...]


class Source:
    """The files of a backend's folder, as one text."""

    def __init__(self, folder: Path):
        files = sorted(folder.glob("*.py"))
        self.text = "\n".join(file.read_text(encoding="utf-8") for file in files)
        tree = ast.parse(self.text)
        self.own = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        self.assigned = {
            ast.unparse(getattr(node, "target", None) or node.targets[0]): node.value
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
        }

    def table(self, name: str) -> dict[str, Spelling]:
        """A table's spellings by kind."""
        return {
            kind: self._entry(self.made(node, kind), kind) for kind, node in self._entries(self.assigned[name]).items()
        }

    def branch(self, function: str, test: str, *, taken: bool = True) -> Spelling:
        """What a function does where a test holds, or where it does not."""
        statements = self.own[function].body
        choices = (node for node in ast.walk(self.own[function]) if isinstance(node, ast.If))
        place = next(node for node in choices if ast.unparse(node.test) == test)
        return self._told(place.body if taken else place.orelse or statements[statements.index(place) + 1 :])

    def text_of(self, name: str) -> str:
        """One of its functions as it stands there."""
        return ast.get_source_segment(self.text, self.own[name])

    def mentioned(self, names: tuple[str, ...]) -> list[str]:
        """These functions, and those that they mention in turn, each once."""
        seen = dict.fromkeys(names)
        for name in seen:
            more = self._told([self.own[name]]).mentions
            if new := [other for other in more if other not in seen]:
                return self.mentioned((*seen, *new))
        return list(seen)

    # ------------------------------------------------------------ entries of a table

    def _entries(self, node: ast.expr) -> dict[str, ast.expr]:
        match node:
            case ast.BinOp(left, ast.BitOr(), right):
                return self._entries(left) | self._entries(right)
            case ast.Name(name):
                return self._entries(self.assigned[name])
            case ast.Call() | ast.DictComp():  # what packages add
                return {}
        return {key.value: value for key, value in zip(node.keys, node.values, strict=True)}

    def made(self, node: ast.expr, kind: str) -> ast.expr:
        """The call of a class or a function that a factory makes of settings; other entries as they are."""
        match node:
            case ast.Name(name) if name in self.assigned:
                return self.made(self.assigned[name], kind)
            case ast.Call(ast.Name("of_class"), [made], names):
                options = [ast.keyword("lr", ast.Name("learning_rate")), *self._options(names)]
                if "weight_decay" in KINDS[kind].model_fields:
                    options.append(ast.keyword("weight_decay", ast.Name("weight_decay")))
                return ast.Call(made, [ast.Name("parameters")], options)
            case ast.Call(ast.Name("of_optax"), [made, *names], keywords):
                return ast.Call(made, [*self._settings(names)], [*self._options(keywords)])
        return node

    def _settings(self, names: list[ast.expr]) -> Iterator[ast.Name]:
        """`"rho", *MOMENTS`: the settings of these names."""
        for name in names:
            of = ast.literal_eval(self.assigned[name.value.id]) if isinstance(name, ast.Starred) else [name.value]
            yield from map(ast.Name, of)

    def _options(self, names: list[ast.keyword]) -> Iterator[ast.keyword]:
        """`betas="beta1 beta2", **MOMENTS`: the options that are a setting, or a tuple of some."""
        for name in names:
            pairs = {name.arg: name.value.value} if name.arg else ast.literal_eval(self.assigned[name.value.id])
            for option, of in pairs.items():
                first, *more = map(ast.Name, of.split())
                yield ast.keyword(option, ast.Tuple([first, *more]) if more else first)

    def _entry(self, node: ast.expr, kind: str) -> Spelling:
        match node:
            case ast.Name(name) if name in self.own:
                return self._function(self.own[name], kind)
            case ast.Call(ast.Name(wrapper), [inner, *names]) if _makes_a_loss(self.own.get(wrapper)):
                return self._wrapped(wrapper, inner, names, kind)
        value = Unfolded(self).visit(deepcopy(node))
        if isinstance(value, ast.Lambda):
            value = Unfolded(self, {value.args.kwarg.arg: []} if value.args.kwarg else {}).visit(value.body)
        return self._told([value])

    def _wrapped(self, wrapper: str, inner: ast.expr, names: list[ast.expr], kind: str) -> Spelling:
        """`of_torch(F.huber_loss, "delta")`: what is wrapped, called with the settings of these names."""
        if not isinstance(inner, ast.Name | ast.Lambda):
            settings = [ast.keyword(name.value, ast.Name(name.value)) for name in names]
            inner = ast.Call(inner, [ast.Name("output"), ast.Name("targets")], settings)
        spelling = self._entry(inner, kind)
        return spelling._replace(mentions=(wrapper, *spelling.mentions))

    def _function(self, function: ast.FunctionDef, kind: str) -> Spelling:
        """Its result if there is nothing else, or its statements."""
        function = Called(self, kind).visit(deepcopy(function))
        guards = {node: reason for node in function.body if (reason := _refusal(node))}
        statements = [Unfolded(self).visit(deepcopy(node)) for node in _statements(function) if node not in guards]
        return self._told(statements, function, {_written(node.test): reason for node, reason in guards.items()})

    def _told(self, nodes: list, function: ast.AST | None = None, refused: dict[str, str] | None = None) -> Spelling:
        """The code of the nodes; of a `return` that stands alone, what is returned."""
        match nodes:
            case [ast.Return(value)]:
                nodes = [value]
        names = dict.fromkeys(node.id for tree in nodes for node in ast.walk(tree) if isinstance(node, ast.Name))
        about = " ".join((ast.get_docstring(function) or "").split()) if function else ""
        return Spelling(
            "\n".join(map(_written, nodes)), about, refused or {}, tuple(name for name in names if name in self.own)
        )

    # ------------------------------------------------------------ functions that only return

    def result(self, name: str) -> ast.Lambda | None:
        """A function that only returns, as a lambda; one that returns a function that only returns, as two."""
        if not isinstance(function := self.own.get(name), ast.FunctionDef):
            return None
        return _result(function)


def _result(function: ast.FunctionDef) -> ast.Lambda | None:
    match _statements(function):
        case [ast.Return(ast.Lambda(ast.arguments(vararg=ast.arg())))]:
            return None  # it is called by its name
        case [ast.Return(value)]:
            return ast.Lambda(function.args, value)
        case [ast.FunctionDef() as inner, ast.Return(ast.Name(name))] if name == inner.name and _result(inner):
            return ast.Lambda(function.args, _result(inner))
    return None


class Called(ast.NodeTransformer):
    """Calls of what a factory makes, replaced by the call of the class or the function itself."""

    def __init__(self, source: Source, kind: str):
        self.source, self.kind = source, kind

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """`of_class(C, eps="epsilon")(optimizer, parameters)` is `C(parameters, ..., eps=epsilon)`."""
        node = self.generic_visit(node)
        made = self.source.made(node.func, self.kind)
        return node if made is node.func else made


class Unfolded(ast.NodeTransformer):
    """Calls of the source's functions that only return, replaced by what they return."""

    def __init__(self, source: Source, names: dict[str, ast.expr] | None = None):
        self.source, self.names = source, names or {}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """An argument is what it was called with."""
        return self.names.get(node.id, node)

    def visit_keyword(self, node: ast.keyword) -> ast.keyword | list[ast.keyword]:
        """`**options` are those that it was called with."""
        given = self.names.get(node.value.id) if node.arg is None and isinstance(node.value, ast.Name) else None
        return given if isinstance(given, list) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """A call is what it returns."""
        node = self.generic_visit(node)
        rule = self.source.result(node.func.id) if isinstance(node.func, ast.Name) else node.func
        if not isinstance(rule, ast.Lambda):
            return node
        names = dict(zip((one.arg for one in rule.args.args), node.args, strict=True))
        if rule.args.kwarg:
            names[rule.args.kwarg.arg] = node.keywords
        return Unfolded(self.source, names).visit(deepcopy(rule.body))


# ---------------------------------------------------------------- parts of a function


def _statements(function: ast.FunctionDef) -> list[ast.stmt]:
    """Without its docstring."""
    return function.body[1:] if ast.get_docstring(function) else function.body


def _makes_a_loss(function: ast.AST | None) -> bool:
    """`of_torch`, `of_terms`, ...: what it returns is a function of a loss, the output and the targets."""
    match function:
        case ast.FunctionDef(body=[*_, ast.FunctionDef(args=ast.arguments(args=[ast.arg("loss"), *_])), ast.Return()]):
            return True
    return False


def _refusal(node: ast.stmt) -> str:
    """The reason that `if ...: raise Unsupported(reason)` gives."""
    match node:
        case ast.If(_, [ast.Raise(ast.Call(ast.Name("Unsupported"), [ast.Constant(reason)]))]):
            return reason
    return ""


class _WithoutPrefix(ast.NodeTransformer):
    """`epsilon` for `optimizer.epsilon`; but the `optimizer` of a scheduler is torch's own."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """A setting."""
        of_settings = isinstance(node.value, ast.Name) and node.value.id in SETTINGS
        of_torch = node.attr in ("param_groups", "defaults")
        return ast.Name(node.attr) if of_settings and not of_torch else self.generic_visit(node)


def _written(node: ast.AST) -> str:
    return ast.unparse(_WithoutPrefix().visit(deepcopy(node)))
