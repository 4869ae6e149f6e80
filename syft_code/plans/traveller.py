"""The thin traveller: the one function that PySyft carries to a hospital.

Its text follows from the plan's hash alone, so both sides write it down and compare
bytes. What it does stands in reviewed, installed code (`datasites.desk.entrypoint`); the text has
nothing that a researcher could have put there.
"""

import re

from syft_code import canonical
from syft_code.errors import NotApproved

_TEXT = '''\
def {name}(patients, call):
    """Hand one signed round call to this hospital's vault and return its ticket."""
    from datasites.desk.entrypoint import start_round

    return start_round(patients=patients, plan_hash="{plan_hash}", call=call)
'''
_PLAN_HASH = re.compile(r'plan_hash="([0-9a-f]{64})"')


def function_name(plan_hash: str) -> str:
    """The name under which a plan's traveller is submitted; PySyft looks functions up by name.

    >>> function_name("ab" * 32)
    'consilium_abababababababab'
    """
    return f"consilium_{plan_hash[:16]}"


def source(plan_hash: str) -> str:
    """The exact text of a plan's traveller."""
    return _TEXT.format(name=function_name(plan_hash), plan_hash=plan_hash)


def source_sha256(plan_hash: str) -> str:
    """The hash of a plan's code, as it stands in approvals and certificates."""
    return canonical.sha256(source(plan_hash).encode("ascii"))


def plan_hash_of(code: str) -> str:
    """The plan that a submitted text belongs to, if it is the traveller to the last byte.

    Raises:
        NotApproved: if the text is anything else.

    >>> plan_hash_of(source("ab" * 32)) == "ab" * 32
    True
    """
    match = _PLAN_HASH.search(code)
    if match is None or code != source(match.group(1)):
        raise NotApproved(
            "A code request here must be the thin traveller that syft_code.plans.traveller.source "
            "writes for a plan, byte for byte; this code is something else. Describe the model "
            "as a recipe and submit the plan with federation.researcher.study."
        )
    return match.group(1)
