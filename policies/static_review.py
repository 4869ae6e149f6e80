"""What stands in a request's text that ordinary model code does not need.

The text is parsed, never run, and held against lists of what is usual; whatever is not
on them is a finding, a sentence for the owner's evidence pack:

- Modules stand only at the head of a dotted name whose every part is listed, never as a
  value: under another name, a module would give away everything in it.
- Names are the text's own or listed built-ins; a name means one thing in the whole text.
- Attributes of values are listed, or the text's own; none is of Python's inner workings.

Does not protect: this informs the approver and is no control. It does not stop code, and
    a text without findings can still be hostile *by meaning*: copy the batch into the
    weights, let one patient set every row, count for hours, ask for a huge tensor. It
    reads words, not flows: patching a class through `self` or hiding a number in a table
    looks like arithmetic. The sandbox, the noise and the airlock must hold without it.
"""

import ast
import io
import tokenize
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from policies.usual_names import (
    ALLOWED,
    ATTRIBUTES,
    BUILTINS,
    DECORATORS,
    ERRORS,
    FIXED,
    MEANING_OF,
    NODES,
    PARTS,
    SETTABLE,
    UNUSUAL,
)

MAX_CHARACTERS = 100_000
MAX_FINDINGS = 100
"""So many are shown, and one that says how many more there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing in a text that is unusual in model code: its line, and a sentence."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """What must be known of a whole text before its parts can be judged; nodes by `id`."""

    modules: dict[str, str]  # name in the text -> module that it stands for
    imported: frozenset[str]  # names of imported values
    bound: frozenset[str]  # every name that the text gives a meaning
    attributes: frozenset[str]  # attributes that the text's own classes have
    bases: frozenset[int]  # names, and attributes, at whose right a dot follows
    inert: frozenset[int]  # docstrings
    well_placed: frozenset[int]  # imports directly in the text or in a function


def findings(code: str) -> tuple[Finding, ...]:
    """Everything unusual in a text, in order of line; none for the thin traveller. Never raises.

    Does not protect: see the module. No finding does not mean that the code is harmless.

    >>> findings("def area(side):\\n    return side * side\\n")
    ()
    >>> findings("import math\\nimport socket\\n")[0].line
    2
    """
    if len(code) > MAX_CHARACTERS:
        reason = f"The text has {len(code)} characters, more than anybody reads: it was not read."
        return (Finding(line=1, reason=reason),)
    code = code.replace("\r\n", "\n")
    found = [*_hidden_characters(code), *_parsed_findings(code)]
    ordered = sorted(set(found), key=lambda finding: (finding.line, finding.reason))
    if len(ordered) <= MAX_FINDINGS:
        return tuple(ordered)
    more = len(ordered) - MAX_FINDINGS
    last = Finding(line=ordered[MAX_FINDINGS].line, reason=f"From here on, {more} more findings.")
    return (*ordered[:MAX_FINDINGS], last)


def _hidden_characters(code: str) -> Iterator[Finding]:
    for number, line in enumerate(code.split("\n"), start=1):
        for character in sorted(set(line)):
            if not (character.isprintable() or character == "\t"):
                yield Finding(
                    line=number,
                    reason=f"An invisible character (U+{ord(character):04X}) stands in this line: "
                    "what is shown may not be what runs.",
                )


def _parsed_findings(code: str) -> Iterator[Finding]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in texts: no matter here
            tree = ast.parse(code)
    except SyntaxError as error:
        yield Finding(
            line=max(error.lineno or 1, 1),
            reason="The text stops being Python here, so none of it was reviewed.",
        )
    except (RecursionError, MemoryError, SystemError):  # the last: Python 3.11.2, gh-106905
        yield Finding(line=1, reason="The text is nested too deeply to be read: not reviewed.")
    except ValueError:
        yield Finding(line=1, reason="The text holds what no Python text may: not reviewed.")
    else:
        yield from _foreign_letters(code)
        text = _facts(tree)
        for node in ast.walk(tree):
            yield from _judged(node, text)


def _foreign_letters(code: str) -> Iterator[Finding]:
    """Python folds look-alike letters into others before it reads a name: judge the tokens."""
    if code.isascii():
        return
    plain = (tokenize.STRING, tokenize.COMMENT)
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type not in plain and not token.string.isascii():
                yield Finding(
                    line=token.start[0],
                    reason=f"The name {_quoted(token.string)} has letters outside of the English "
                    "alphabet: they can look like others and mean something else.",
                )
    except (tokenize.TokenError, SyntaxError):
        yield Finding(line=1, reason="The text could not be taken apart into words.")


def _facts(tree: ast.Module) -> _Text:
    nodes = list(ast.walk(tree))
    modules: dict[str, str] = {}
    imported: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, target in _import_bindings(node):
                if target in ALLOWED:
                    modules.setdefault(name, target)
                else:
                    imported.add(name)
    bodies = [n.body for n in nodes if isinstance(n, ast.Module | ast.FunctionDef)]
    return _Text(
        modules=modules,
        imported=frozenset(imported),
        bound=frozenset(imported | {name for node in nodes for name in _bindings(node)}),
        attributes=frozenset(name for node in nodes for name in _own_attributes(node))
        - (MEANING_OF.keys() - ATTRIBUTES),
        bases=frozenset(id(n.value) for n in nodes if isinstance(n, ast.Attribute)),
        inert=frozenset(id(n.value) for n in nodes if isinstance(n, ast.Expr)),
        well_placed=frozenset(id(statement) for body in bodies for statement in body),
    )


def _import_bindings(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Each name that an import gives, with the dotted name that it stands for."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield alias.asname or alias.name, f"{'.' * node.level}{node.module or ''}.{alias.name}"
        elif alias.asname:
            yield alias.asname, alias.name
        else:
            top = alias.name.partition(".")[0]
            yield top, top


def _bindings(node: ast.AST) -> tuple[str, ...]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            return (name,)
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return (name,)
        case _:
            return ()


def _own_attributes(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
            yield name
        case ast.ClassDef(body=body):
            for statement in body:
                yield from _stored(statement)
                if isinstance(statement, ast.FunctionDef):
                    yield statement.name
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="self"), attr=method),
            args=[ast.Constant(value=str(name)), *_],
        ) if method in ("register_buffer", "register_parameter", "add_module"):
            yield name


def _stored(statement: ast.stmt) -> Iterator[str]:
    for part in ast.iter_child_nodes(statement):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def _judged(node: ast.AST, text: _Text) -> Iterator[Finding]:
    if not isinstance(node, (*NODES, *PARTS)):
        what = UNUSUAL.get(type(node), f"`{type(node).__name__}` is a rare kind of statement")
        yield _at(node, f"{what}: model code does without.")
    check = _CHECKS.get(type(node))
    if check is not None:
        yield from check(node, text)
    for name in _bindings(node):
        yield from _bound(node, name, text)


def _bound(node: ast.AST, name: str, text: _Text) -> Iterator[Finding]:
    if name.startswith("__") and not (name == "__init__" and isinstance(node, ast.FunctionDef)):
        yield _at(node, f"{_quoted(name)} is a name of Python's inner workings.")
    elif name in FIXED or name in text.modules:
        yield _at(
            node,
            f"{_quoted(name)} gets a second meaning here: whoever reads the text can no longer "
            "tell which one runs.",
        )


def _import(node: ast.Import | ast.ImportFrom, text: _Text) -> Iterator[Finding]:
    if id(node) not in text.well_placed:
        yield _at(node, "An import stands where it depends on a condition, or inside a class.")
    for alias, (name, target) in zip(node.names, _import_bindings(node), strict=True):
        module, _, last = target.rpartition(".")
        whole = alias.name if isinstance(node, ast.Import) else target
        value = isinstance(node, ast.ImportFrom) and last in ALLOWED.get(module, ())
        if not (whole in ALLOWED or value):
            yield _at(alias, f"Model code rarely imports {_named(whole)}")
        if name in FIXED or text.modules.get(name, target) != target:
            yield _at(alias, f"{_quoted(name)} gets a second meaning by this import.")


def _name(node: ast.Name, text: _Text) -> Iterator[Finding]:
    if not isinstance(node.ctx, ast.Load):
        return
    if node.id.startswith("__"):
        yield _at(node, f"{_quoted(node.id)} is a name of Python's inner workings.")
    elif node.id in text.modules:
        if id(node) not in text.bases:
            yield _module_as_value(node, node.id)
    elif node.id not in text.bound and node.id not in BUILTINS:
        yield _at(node, f"Neither this text nor the list of usual functions has {_named(node.id)}")


def _attribute(node: ast.Attribute, text: _Text) -> Iterator[Finding]:
    """Judge a whole dotted name at once, from its outermost attribute."""
    if id(node) in text.bases:
        return
    links = [node]
    while isinstance(links[-1].value, ast.Attribute):
        links.append(links[-1].value)
    root, links = links[-1].value, links[::-1]
    if isinstance(root, ast.Name) and root.id in (text.imported | text.modules.keys()):
        if not isinstance(node.ctx, ast.Load):
            yield _at_end(node, f"Something of {_quoted(root.id)} is replaced: not the text's own.")
        if root.id in text.modules:
            module, depth = _module_part(text.modules[root.id], links)
            if depth == len(links):
                yield _module_as_value(node, module)
            elif links[depth].attr not in ALLOWED[module]:
                name = f"{module}.{links[depth].attr}"
                yield _at_end(links[depth], f"The list of usual functions lacks {_named(name)}")
            links = links[depth + 1 :]
    for link in links:
        yield from _link(link, text)


def _module_part(module: str, links: list[ast.Attribute]) -> tuple[str, int]:
    depth = 0
    while depth < len(links) and f"{module}.{links[depth].attr}" in ALLOWED:
        module, depth = f"{module}.{links[depth].attr}", depth + 1
    return module, depth


def _link(node: ast.Attribute, text: _Text) -> Iterator[Finding]:
    name, of_self = node.attr, isinstance(node.value, ast.Name) and node.value.id == "self"
    own = name in text.attributes and (of_self or not name.startswith("_"))
    if name.startswith("__"):
        if not (name == "__init__" and _is_super(node.value)):
            yield _at_end(
                node,
                f"{_quoted(name)} is an attribute of Python's inner workings, by which code climbs "
                "to what it was not given.",
            )
    elif not (own or name in ATTRIBUTES):
        yield _at_end(node, f"Model code rarely asks a value for {_named(f'.{name}')}")
    elif not isinstance(node.ctx, ast.Load) and not (own or name in SETTABLE):
        yield _at_end(node, f"{_quoted(f'.{name}')} of something not the text's own is replaced.")


def _is_super(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )


def _function(node: ast.FunctionDef, text: _Text) -> Iterator[Finding]:
    for decorator in node.decorator_list:
        if not (isinstance(decorator, ast.Name) and decorator.id in DECORATORS):
            yield _at(decorator, "A decorator replaces the function that is written below it.")


def _class(node: ast.ClassDef, text: _Text) -> Iterator[Finding]:
    for decorator in node.decorator_list:
        yield _at(decorator, "A decorator replaces the class that is written below it.")
    for keyword in node.keywords:
        yield _at(keyword, "A class with options (such as a metaclass) runs code as it is defined.")
    for base in node.bases:
        if not isinstance(base, ast.Name | ast.Attribute):
            yield _at(base, "What this class is made from is computed, not named.")


def _raise(node: ast.Raise, text: _Text) -> Iterator[Finding]:
    error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    if not (isinstance(error, ast.Name) and error.id in ERRORS and node.cause is None):
        yield _at(node, "What is raised here is not one of Python's ordinary errors.")
    if isinstance(node.exc, ast.Call) and not all(map(_is_text, node.exc.args)):
        yield _at(node, "An error's text is made from values: it could carry data out.")


def _assert(node: ast.Assert, text: _Text) -> Iterator[Finding]:
    if node.msg is not None and not _is_text(node.msg):
        yield _at(node, "An error's text is made from values: it could carry data out.")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _while(node: ast.While, text: _Text) -> Iterator[Finding]:
    if not any(isinstance(part, ast.Name) for part in ast.walk(node.test)):
        yield _at(node, "This loop's condition never changes: it may run for ever.")


def _constant(node: ast.Constant, text: _Text) -> Iterator[Finding]:
    if isinstance(node.value, bytes):
        yield _at(node, "Raw bytes stand in the text: model code has no use for them.")
    elif isinstance(node.value, str) and id(node) not in text.inert:
        if "__" in node.value:
            yield _at(node, "A text holds `__`, the mark of names of Python's inner workings.")
        if len(node.value) > 500:
            yield _at(node, f"A text of {len(node.value)} characters could be hidden data or code.")


_CHECKS: dict[type[ast.AST], Callable[[Any, _Text], Iterator[Finding]]] = {
    ast.Import: _import,
    ast.ImportFrom: _import,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.FunctionDef: _function,
    ast.ClassDef: _class,
    ast.Raise: _raise,
    ast.Assert: _assert,
    ast.While: _while,
    ast.Constant: _constant,
}


def _module_as_value(node: ast.expr, name: str) -> Finding:
    return _at_end(
        node,
        f"The whole module {_quoted(name)} is used as a value here: under another name, it gives "
        "away everything in it.",
    )


def _named(name: str) -> str:
    """A name, with what it is known to do: the end of a sentence."""
    meaning = next((MEANING_OF[w] for w in name.split(".") if w in MEANING_OF), None)
    return f"{_quoted(name)}: {meaning}." if meaning else f"{_quoted(name)}."


def _quoted(name: str) -> str:
    """A name as it can be shown: printable ASCII, of bounded length."""
    return f"`{ascii(name)[1:-1][:60]}`"


def _at(node: ast.AST, reason: str) -> Finding:
    return Finding(line=getattr(node, "lineno", 1), reason=reason)


def _at_end(node: ast.expr, reason: str) -> Finding:
    """Where an attribute's own word stands, if a dotted name runs over several lines."""
    return Finding(line=node.end_lineno or node.lineno, reason=reason)
