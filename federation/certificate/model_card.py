"""The model card: a certificate in Markdown, for whoever is to decide whether a model may be used.

    certificate ─ text ─▶ Markdown      data, sites, privacy, figures, limits

Every number in it stands in the certificate, which alone is signed. Exact figures of real patients are
left out, so that a card can be passed on.
Source: Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv 1810.03993.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from federation.certificate.verification import Certificate
from syft_code import canonical
from syft_code.metrics import noise_errors
from syft_code.metrics.noise_errors import NOT_MEASURABLE
from syft_code.plans.plan import Plan
from syft_code.privacy import epsilons
from syft_code.recipes.recipe import CrossEntropy
from syft_code.runtime.visible_text import visible

CARD_FILE = "model_card.md"
"""Its name beside a certificate."""
DEMO_ONLY = "possible only in a demo that owns all the data"
_COUNTS = ("patients", "on_training_patients")
_LINK = re.compile(r"(https?:|ftp:|mailto:|www|(?<=\S)@|^@|(?<=\s)@)", re.IGNORECASE)
"""Where a reader of Markdown would make a link or a mention by itself."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")


def text(content: Certificate) -> str:
    """The card of a certificate; what it takes from it is not checked (`verification.check`).

    Raises:
        InvalidPlan: if no plan is inside.
    """
    plan = Plan.decode(canonical.encode(content["plan"]))
    sections = {
        f"Model card: {_plain(plan.study)}": _what(content, plan),
        "Data": _data(content, plan),
        "Sites": _sites(content),
        "Privacy": _privacy(content, plan),
        "Figures": _figures(content, plan),
        "Limits": _listed(content["not_promised"]),
        "Use": _use(plan),
    }
    parts = [
        f"{'#' if place == 0 else '##'} {title}\n\n" + "\n".join(lines)
        for place, (title, lines) in enumerate(sections.items())
    ]
    return "\n\n".join(parts) + "\n"


def _what(content: Certificate, plan: Plan) -> Iterator[str]:
    model = content["model"]
    task = "Classification" if plan.data.task == "classification" else "Segmentation"
    yield _plain(content["stand_in_sentence"])
    yield ""
    yield f"- {task} into {', '.join(map(_plain, plan.data.classes))}."
    yield f"- {model['parameters']:,} parameters ({_architecture(plan)}), trained by federated DP-SGD."
    if plan.data.task == "classification" and plan.recipe.loss != CrossEntropy():
        yield (
            "- Trained with class weights or priors: its probabilities are not those of a population, in which classes "
            "are not equally frequent."
        )
    if plan.purpose is not None:
        yield f"- Made for: {_plain(plan.purpose.aim)}"
        people = ", ".join(map(_plain, plan.purpose.people))
        yield f"- By {people}, {_plain(plan.purpose.institution)}; contact {_plain(plan.purpose.contact)}."
        approval = _plain(plan.purpose.ethics_approval) or "none is named"
        yield f"- Ethics approval: {approval}."
    yield f"- Made {content['created'][:10]} with {content['product']}."
    yield f"- SHA-256 of the model's file: `{model['file_sha256']}`."
    yield f"- {content['delivered']}"
    if content["stopped_early"]:
        yield f"- The study stopped early: {_plain(content['stopped_early'])}"


def _architecture(plan: Plan) -> str:
    kinds = {
        "layers": "layer stack",
        "fusion": "pictures and facts brought together",
        "unet": "U-Net",
        "encoder_decoder": "decoder on the maps of a public encoder",
    }
    return kinds[plan.recipe.model.kind]


def _data(content: Certificate, plan: Plan) -> Iterator[str]:
    data = plan.data
    yield f"- Kind: {data.kind}. What counts as one patient: {_plain(data.patient_unit)}."
    yield f"- {_plain(content['privacy']['unit_sentence'])}"
    if data.kind == "series":
        yield f"- {data.height_px} hours of {_plain(data.channels[0])}."
    elif data.channels:
        names = ", ".join(map(_plain, data.channels))
        yield f"- Pictures of {data.width_px} x {data.height_px} px; channels: {names}."
    if data.facts:
        yield f"- Facts: {', '.join(map(_plain, data.facts))}."


def _sites(content: Certificate) -> Iterator[str]:
    """A row for each hospital; patients are what its owner declared."""
    hospitals: Sequence[Mapping[str, Any]] = content["hospitals"]
    yield from _table(
        (
            "Hospital",
            "Training patients (declared)",
            "Rounds trained",
            "Epsilon",
            "Epsilon if all others collude",
            "Delta",
        ),
        (
            (
                _plain(own["name"]),
                f"{own['declared_patients']:,}",
                str(len(own["rounds_trained"])),
                *(
                    ("none spent", "none spent", "")
                    if own["epsilon"] is None
                    else (
                        epsilons.at_least(own["epsilon"]),
                        epsilons.at_least(own["epsilon_alone"]),
                        f"{own['delta']:g}",
                    )
                ),
            )
            for own in hospitals
        ),
    )


def _privacy(content: Certificate, plan: Plan) -> Iterator[str]:
    dp = plan.dp_sgd
    yield f"- Neighbouring relation: {_plain(content['privacy']['neighbouring_relation'])}."
    yield (
        f"- DP-SGD: noise {dp.noise_multiplier:g} x clip {dp.max_grad_norm:g}, sample rate "
        f"{dp.sample_rate:g}, steps a round: {dp.steps}, rounds: {len(content['rounds'])} of {plan.rounds}."
    )
    yield f"- {_plain(content['privacy']['epsilon_and_epsilon_alone'])}"
    yield f"- Accountant: {_plain(content['privacy']['accountant'])}."
    yield (
        f"- Updates were seen as sums over at least {plan.min_hospitals} hospitals, opened by "
        f"{plan.needed} of {len(plan.aggregators)} aggregators."
    )


def _figures(content: Certificate, plan: Plan) -> Iterator[str]:
    """The last noised figures with their errors; exact ones of stand-ins alone."""
    utility = content["utility"]
    by_round: Mapping[str, Mapping[str, float | None]] = utility["noised_by_round"]
    if by_round:
        last = max(by_round, key=int)
        errors = utility.get("noise_error_by_round", {}).get(last, {})
        yield f"After round {last}, over the held-out patients of all hospitals that evaluated:"
        yield ""
        yield from _table(
            ("Figure", "Value", "± noise (root mean square)"),
            (
                (_plain(name), _noised(name, value, errors.get(name)), _number(errors.get(name)))
                for name, value in by_round[last].items()
            ),
        )
    else:
        yield "No figure was paid for: the plan has no evaluation that ran."
    yield ""
    demo = utility.get(DEMO_ONLY, {})
    if plan.data.stand_in and demo.get("exact_figures_of_this_model"):
        yield from _exact(demo)
        yield ""
    yield "Subgroups (sex, age, site): none were measured."


def _exact(demo: Mapping[str, Any]) -> Iterator[str]:
    """Of this model and of the baselines, side by side: only stand-ins have such figures."""
    found = demo["exact_figures_of_this_model"]
    exact = {k: v for k, v in found.items() if "/" not in k and k not in _COUNTS}
    columns = [("this model", exact), *((one["name"], one["metrics"]) for one in demo["baselines"])]
    group = "training" if found.get("on_training_patients") else "held-out"
    yield f"Exact figures over the {group} patients, which only stand-ins may show:"
    yield ""
    yield from _table(
        ("Figure", *(_plain(name) for name, _ in columns)),
        ((_plain(key), *(_exactly(figures.get(key)) for _, figures in columns)) for key in exact),
    )


def _use(plan: Plan) -> Iterator[str]:
    yield (
        "`consilium predict MODEL FILE_OR_FOLDER` reads a file as it was read in training, and holds the "
        "model against its certificate first."
    )
    if plan.data.kind in ("table", "series"):
        yield "A table is read by the schema of the study: name it with `--schema` unless it is a published one."


def _listed(sentences: Iterable[str]) -> Iterator[str]:
    yield from (f"- {_plain(sentence)}" for sentence in sentences)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _exactly(value: float | None) -> str:
    return NOT_MEASURABLE if value is None else _number(value)


def _noised(name: str, value: float | None, error: float | None) -> str:
    """A figure, or that its noise drowns it."""
    if value is None or not noise_errors.is_measurable(name, value, error):
        return NOT_MEASURABLE
    return _number(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _plain(words: object) -> str:
    """Text that stands in Markdown as it is: one line, no markup.

    >>> _plain("a|b" + chr(10) + "<c>")
    'a\\\\|b \\\\<c\\\\>'
    """
    shown = visible(" ".join(str(words).split())).replace("&", "&amp;")
    return _LINK.sub(r"\1<!-- -->", _MARKUP.sub(r"\\\1", shown))
