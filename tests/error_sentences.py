"""Every sentence by which Consilium refuses, read off the source: what `docs/refusals.md` must answer.

A sentence is what stands in `require(...)`, in `raise`, or in a rule's `Deny`; what is filled in is shown as …
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syft_code import errors

ROOT = Path(__file__).parents[1]
ROOMS = ("syft_code", "policies", "datasites", "federation")
DEFAULT = "InvalidPlan"
"""What `require` raises unless it is told."""
FILLED_IN = "…"
FIELD = re.compile(r"\{[^}]*\}")
DENIED = "Deny"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Sentence:
    """One sentence: the file that says it (from the root), its error, its words."""

    file: str
    error: str
    words: str


def refusals() -> list[Sentence]:
    """Those by which a party says no, or can't; the others are about what came in."""
    return [one for one in sentences() if one.error == DENIED or _says_no(one.error)]


def _says_no(name: str) -> bool:
    kind = errors.named(name)
    return kind is not None and not issubclass(kind, errors.InvalidInput)


def sentences() -> list[Sentence]:
    """All of them, by file; those alone whose words stand in the file that raises them."""
    found: set[Sentence] = set()
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            file = str(path.relative_to(ROOT))
            constants = _constants(tree)
            for error, node in _raised(tree):
                words = " ".join(_words(node, constants).split())
                if words.strip(f"{FILLED_IN} :."):
                    found.add(Sentence(file=file, error=error, words=words))
    return sorted(found)


def _raised(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
            continue
        if call.func.id == "require" and len(call.args) > 1:
            kinds = [key.value for key in call.keywords if key.arg == "error"]
            yield (ast.unparse(kinds[0]) if kinds else DEFAULT), call.args[1]
        elif call.func.id == DENIED or (isinstance(node, ast.Raise) and errors.named(call.func.id)):
            yield call.func.id, call.args[0]


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """What the names of a file's constants stand for."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


def _words(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    match node:
        case ast.Constant(value=str(words)):
            return words
        case ast.JoinedStr(values=parts):
            return "".join(_words(part, constants) for part in parts)
        case ast.BinOp(left=left, right=right):
            return _words(left, constants) + _words(right, constants)
        case ast.FormattedValue(value=ast.Name(id=name)) | ast.Name(id=name) if name in constants:
            return _words(constants[name], constants)
        case ast.Call(func=ast.Attribute(value=inside, attr="format")):
            return FIELD.sub(FILLED_IN, _words(inside, constants))
    return FILLED_IN
