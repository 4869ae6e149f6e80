"""What hospitals' public terms would refuse of a plan, worked out before anybody is asked.

    plan ─┐
          ├─ the hospitals' own rules ─▶ a sentence for each hospital that would refuse it
    terms ┘

The rules are those that each vault asks. What only a hospital knows is left out: what is spent
already, a budget of its own for one asset, which parties its owner knows and who runs them.
"""

from collections.abc import Mapping

from policies import rules
from policies.decision import Deny
from policies.known_parties import Known, KnownParty, Party
from policies.rules import PolicyCase
from policies.site_policy import SitePolicy
from syft_code.plans.catalogue import Terms
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting


def refusals(plan: Plan, terms: Mapping[str, Terms]) -> dict[str, str]:
    """Why each of these hospitals would refuse a plan by its terms; empty if none would.

    A plan whose rounds do not all fit a budget is among them, although an owner may let it begin.
    """
    known = _all_known(plan)
    found = {}
    for hospital, asked in terms.items():
        case = PolicyCase(
            plan=plan,
            hospital=hospital,
            known=known,
            of_researcher=accounting.plan_events(plan),
        )
        policy = SitePolicy(terms=asked)
        budget = policy.budget(plan.hospital(hospital).asset)
        fits = rules.within_budget(asked=case.of_researcher, spent=(), budget=budget)
        said = rules.forbidden(case, policy) or fits
        if isinstance(said, Deny):
            found[hospital] = said.reason
    return found


def _all_known(plan: Plan) -> Known:
    """Each party as an institution of its own that everybody knows."""
    hospitals = [(one.name, one.verify_key, "") for one in plan.hospitals]
    aggregators = [(one.name, one.verify_key, one.seal_key) for one in plan.aggregators]
    return tuple(
        KnownParty(
            party=Party(
                name=name, institution=name, operator=name, verify_key=verify, seal_key=seal
            ),
            added_by="everybody",
            added_at_unix_s=0.0,
        )
        for name, verify, seal in (*hospitals, *aggregators)
    )
