"""`python -m tests.fuzz --inputs 100000 [--parser NAME] [--seed N] [--first N]`: one line a parser."""

import argparse
import sys

from syft_code.runtime import cli_output
from tests.fuzz import intake, messages, plans, readers, results, shares
from tests.fuzz.runner import Parser, Report, run

KINDS = (messages, plans, shares, results, readers)
"""Those that need no PySyft."""


def main() -> int:
    """Run them one after the other; 1 if anything was found."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    arguments.add_argument("--inputs", type=int, default=100_000)
    arguments.add_argument("--parser", help="one of them; else all, PySyft's intake last")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--first", type=int, default=0, help="the number of the first input")
    asked = arguments.parse_args()
    found = False
    for parser in _chosen(asked.parser):
        report = run(parser, inputs=asked.inputs, seed=asked.seed, first=asked.first)
        found |= bool(report.findings)
        _say(report)
    return int(found)


def _chosen(name: str | None) -> list[Parser]:
    known = [parser for kind in KINDS for parser in kind.parsers()]
    if name is None or name == "intake":
        known += intake.parsers()
    chosen = [parser for parser in known if name in (None, parser.name)]
    if not chosen:
        sys.exit(f"There is no parser {name!r}: one of {', '.join(p.name for p in known)}, intake.")
    return chosen


def _say(report: Report) -> None:
    cli_output.sentence(
        f"{report.parser:17} {report.inputs:8,} inputs  {report.read:7,} read  {report.seconds:7.1f} s  "
        f"slowest {1000 * report.slowest_s:6.0f} ms (input {report.slowest})  {len(report.findings)} findings"
    )
    for finding in report.findings:
        cli_output.sentence(f"    input {finding.number}: {finding.what}")


if __name__ == "__main__":
    sys.exit(main())
