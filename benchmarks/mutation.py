"""How many small faults in one file its tests notice: `python -m benchmarks.mutation FILE TESTS...`.

A mutant is the file with one operator, comparison, number, condition or statement changed. The
tests run in a copy of the tracked files; the tree itself is never touched. A survivor is a fault
that no test would have noticed, or a change that means the same (`<` for `<=` where equality
can't happen), so the figure to compare is the same sample before and after a change of the tests.
"""

import argparse
import ast
import copy
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.MatMult: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One changed file: where, what was changed, and the whole new text."""

    line: int
    change: str
    text: str


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a Python file, in the order of its lines."""
    tree = ast.parse(source)
    found = []
    for index, node in enumerate(ast.walk(tree)):
        for variant in range(_variants(node)):
            changed = copy.deepcopy(tree)
            target = next(n for i, n in enumerate(ast.walk(changed)) if i == index)
            before = ast.unparse(target)
            _mutate(target, variant)
            after = ast.unparse(target)
            change = f"{_short(before)}  ->  {_short(after)}"
            text = ast.unparse(ast.fix_missing_locations(changed))
            found.append(Mutant(line=getattr(node, "lineno", 0), change=change, text=text))
    return sorted(found, key=lambda mutant: mutant.line)


def _variants(node: ast.AST) -> int:
    """How many ways there are to change a node."""
    match node:
        case ast.Compare(ops=[operator]):
            return int(type(operator) in COMPARED)
        case ast.BinOp(op=operator):
            return int(type(operator) in COMPUTED)
        case ast.BoolOp() | ast.UnaryOp(op=ast.USub()) | ast.If() | ast.IfExp():
            return 1
        case ast.Constant(value=bool()):
            return 1
        case ast.Constant(value=int() | float()):
            return 1
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            return 1
        case _:
            return 0


def _mutate(node: ast.AST, variant: int) -> None:
    match node:
        case ast.Compare():
            node.ops = [COMPARED[type(node.ops[0])]()]
        case ast.BinOp():
            node.op = COMPUTED[type(node.op)]()
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp():
            node.op = ast.UAdd()
        case ast.If() | ast.IfExp():
            node.test = ast.UnaryOp(op=ast.Not(), operand=node.test)
        case ast.Constant(value=bool()):
            node.value = not node.value
        case ast.Constant():
            node.value = int(node.value) + 1 if isinstance(node.value, int) else 2 * node.value + 1
        case ast.Expr():
            node.value = ast.Constant(value=None)
        case ast.AugAssign():
            node.value = ast.BinOp(left=node.value, op=ast.Mult(), right=ast.Constant(value=2))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def survivors(
    file: Path, sample: list[Mutant], tests: list[str], limit_s: float
) -> Iterator[Mutant]:
    """Run the tests against each mutant; yield those that no test noticed."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "tree"
        _copy_tracked(copied)
        for mutant in sample:
            (copied / file).write_text(mutant.text)
            if not _killed(copied, tests, limit_s):
                yield mutant


def _copy_tracked(target: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)


def _killed(tree: Path, tests: list[str], limit_s: float) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        run = subprocess.run(command, cwd=tree, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return True  # a mutant that never ends is noticed
    return run.returncode != 0


def main() -> None:
    """Print how many of a sample of mutants the tests kill, and each survivor."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("file", type=Path, help="a file of the product, from the repository's root")
    parser.add_argument("tests", nargs="+", help="what pytest shall run against each mutant")
    parser.add_argument("--sample", type=int, default=40, help="how many mutants, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=float, default=300.0, help="seconds for one run of the tests"
    )
    asked = parser.parse_args()
    every = mutants((ROOT / asked.file).read_text())
    chosen = random.Random(asked.seed).sample(every, min(asked.sample, len(every)))  # noqa: S311
    alive = list(survivors(asked.file, chosen, asked.tests, asked.limit))
    for mutant in alive:
        print(f"  line {mutant.line}: {mutant.change}")  # noqa: T201
    print(  # noqa: T201
        f"{asked.file}: {len(chosen) - len(alive)} of {len(chosen)} mutants killed "
        f"({len(every)} in all, seed {asked.seed})"
    )


if __name__ == "__main__":
    main()
