"""What a plan computes here, in words: the part of a card on the model and how it is trained."""

from collections.abc import Iterator

from datasites.review.html_card import Section
from datasites.review.plan_diff import short
from syft_code.plans.algorithms import (
    Distillation,
    Ewc,
    FedAdagrad,
    FedAdam,
    FedProx,
    FedYogi,
    Scaffold,
)
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Augmentation
from syft_code.recipes.architectures import Architecture, EncoderDecoder, Fusion, LayerStack, UNet
from syft_code.recipes.encoders import Encoder, Projection
from syft_code.recipes.layers import (
    Activation,
    Conv,
    GlobalAverage,
    GroupNorm,
    Layer,
    Linear,
    Lstm,
    Pool,
    Scattering,
)
from syft_code.recipes.recipe import CrossEntropy, parameter_count


def model_section(plan: Plan, hospital: str) -> Section:
    """The training, as an owner would say it to a colleague."""
    return Section(
        title="What runs",
        prose="No code of the researcher runs: the model is a description, and trusted code "
        "builds it here.",
        rows=tuple(_rows(plan, hospital)),
        folded=True,
    )


def _rows(plan: Plan, hospital: str) -> Iterator[tuple[str, str]]:
    entry = plan.hospital(hospital)
    marked = " (stand-in data)" if plan.data.stand_in else ""
    yield (
        "On",
        f"{entry.asset} version {entry.asset_version}: {entry.patients:,} declared training "
        f"patients, one patient is one {plan.data.patient_unit}{marked}",
    )
    count = parameter_count(plan.recipe, plan.data)
    yield "Architecture", f"{_model(plan.recipe.model)}; {count:,} parameters"
    yield "Starts from", _start(plan)
    yield "Loss", plan.recipe.loss.kind.replace("_", " ") + _weights(plan)
    yield (
        "Training",
        f"{name(plan)}, {plan.rounds} rounds of {plan.dp_sgd.steps} steps, learning rate "
        f"{plan.optimizer.learning_rate:g}, momentum {plan.optimizer.momentum:g}",
    )
    yield "DP-SGD", _dp_sgd(plan, entry.patients)
    yield "Augmentation", _augmentation(plan.augmentation)
    yield "Earlier task", _earlier(plan)
    yield "Evaluation", _evaluation(plan)


def name(plan: Plan) -> str:
    """The algorithm, with its numbers."""
    match plan.algorithm:
        case FedProx(mu=mu):
            return f"FedProx (mu {mu:g})"
        case Scaffold():
            return "SCAFFOLD"
        case FedAdam() | FedYogi() as adaptive:
            kind = "FedAdam" if isinstance(adaptive, FedAdam) else "FedYogi"
            return (
                f"{kind} (the researcher's learning rate {adaptive.learning_rate:g}, beta "
                f"{adaptive.beta1:g} and {adaptive.beta2:g}, adaptivity {adaptive.adaptivity:g})"
            )
        case FedAdagrad() as adaptive:
            return (
                f"FedAdagrad (the researcher's learning rate {adaptive.learning_rate:g}, beta "
                f"{adaptive.beta1:g}, adaptivity {adaptive.adaptivity:g})"
            )
        case _:
            return "FedAvg"


def _start(plan: Plan) -> str:
    if plan.start_sha256:
        return (
            f"weights that the researcher brings, with the hash {short(plan.start_sha256)}: the first "
            "round is refused with any others"
        )
    return (
        "weights drawn from the plan's hash, which nobody chose: the first round fails with others"
    )


def _dp_sgd(plan: Plan, patients: int) -> str:
    dp = plan.dp_sgd
    words = (
        f"each step draws a patient with probability {dp.sample_rate:g} (about "
        f"{dp.sample_rate * patients:.1f} patients), clip norm {dp.max_grad_norm:g}, noise "
        f"multiplier {dp.noise_multiplier:g}"
    )
    if plan.shared_noise is not None:
        words += (
            f" in the sum, of which {plan.noise_multiplier_alone:.3g} is this hospital's own, as whole "
            "steps of the fixed point"
        )
    if dp.slices > 1:
        words += f"; a patient's gradient is the mean over {dp.slices} slices, clipped once"
    if dp.engine == "opacus":
        words += ", per-sample gradients by Opacus"
    if dp.adaptive is None:
        return words
    return (
        f"{words}. The clip norm starts there and follows, on from round to round, the norm below "
        f"which {dp.adaptive.quantile:g} of the patients lie, by a count with noise "
        f"{dp.adaptive.count_noise_multiplier:g}; the noise multiplier is that of gradient and count "
        "together, so that the count is paid for"
    )


def _augmentation(chosen: Augmentation | None) -> str:
    if chosen is None:
        return "none: each drawn slice as it is"
    ways = (
        ("mirrored", chosen.flips),
        ("turned by quarters", chosen.rotations),
        (f"shifted by up to {chosen.shift_px} pixels", chosen.shift_px),
        (f"in brightness and contrast by up to {chosen.intensity:g}", chosen.intensity),
    )
    how = ", ".join(way for way, used in ways if used) or "not changed"
    many = "1 view" if chosen.views == 1 else f"{chosen.views} views"
    return (
        f"{many} of a drawn slice, {how}; a patient's gradient is their mean, clipped once, so "
        "that views cost no privacy"
    )


def _earlier(plan: Plan) -> str:
    match plan.continual:
        case Ewc(strength=strength, reference_sha256=reference, importance_sha256=importance):
            return (
                f"kept by EWC: each step is pulled to an earlier model (hash {short(reference)}) with "
                f"strength {strength:g} times the importance of each weight (hash "
                f"{short(importance)}). The researcher brings both; no patient is in the pull"
            )
        case Distillation(weight=weight, temperature=temperature, reference_sha256=reference):
            return (
                f"kept by distillation: an earlier model (hash {short(reference)}), which the "
                "researcher brings, answers on each drawn patient too, and the new model's distance "
                f"to it counts with weight {weight:g} at temperature {temperature:g}. It is in the "
                "gradient that is clipped and noised"
            )
        case _:
            return "none"


def _evaluation(plan: Plan) -> str:
    if plan.evaluation is None or not plan.evaluation.after_rounds:
        return "none"
    rounds = ", ".join(map(str, plan.evaluation.after_rounds))
    return (
        f"after round {rounds}: sums over held-out patients, noise multiplier "
        f"{plan.evaluation.noise_multiplier:g}"
    )


def _model(model: Architecture) -> str:
    match model:
        case UNet(widths=widths, groups=groups, facts=facts):
            beside = ", the facts at its bottom" if facts else ""
            return f"a U-Net of widths {', '.join(map(str, widths))} in {groups} groups{beside}"
        case Fusion(image=image, facts=facts, head=head, facts_scale=scale):
            after = f"{_layers(head)}, " if head else ""
            times = "" if scale == 1.0 else f", times {scale:.9g},"
            return (
                f"the image through {_layers(image) or 'nothing'}; the facts{times} through "
                f"{_layers(facts) or 'nothing'}; both side by side through {after}linear to the classes"
            )
        case EncoderDecoder(encoder=encoder, layers=layers):
            after = f"{_layers(layers)}, " if layers else ""
            return f"the maps of {_layer(encoder)}; on them {after}a convolution of one pixel to the classes"
        case LayerStack():
            return f"{_layers(model.layers)}, linear to the classes"


def _layers(layers: tuple[Layer, ...]) -> str:
    return ", ".join(map(_layer, layers))


def _layer(layer: Layer) -> str:
    match layer:
        case Conv():
            stride = f" stride {layer.stride}" if layer.stride > 1 else ""
            return f"conv {layer.channels} ({layer.kernel_px}x{layer.kernel_px}{stride})"
        case GroupNorm():
            return f"group norm {layer.groups}"
        case Activation():
            return layer.function
        case Pool():
            return f"{layer.function} pool {layer.size_px}"
        case Linear():
            return f"linear {layer.features}"
        case Lstm():
            return f"LSTM of {layer.units} units"
        case Scattering():
            groups = f", in {layer.groups} groups" if layer.groups else ""
            return f"fixed scattering ({layer.scales} scales, {layer.angles} angles{groups})"
        case GlobalAverage():
            return "global average"
        case Encoder():
            views = f", means over {layer.views} mirror images and turns" if layer.views > 1 else ""
            return (
                f"the public encoder {layer.name} (weights with the hash {short(layer.weights_sha256)}, "
                f"pictures at {layer.input_px} px, {layer.features:,} numbers of each{views}), which no round "
                "changes"
            )
        case Projection():
            axes = (
                f"of the file with the hash {short(layer.axes_sha256)}"
                if layer.axes_sha256
                else f"drawn from seed {layer.seed}"
            )
            return f"a projection on {layer.features} fixed axes {axes}"


def _weights(plan: Plan) -> str:
    loss, words = plan.recipe.loss, ""
    if loss.class_weights:
        words += f", weighing {_by_class(plan, loss.class_weights)}"
    if isinstance(loss, CrossEntropy) and loss.class_priors:
        words += (
            ", with the logarithms of class priors that the researcher gives "
            f"({_by_class(plan, loss.class_priors)}) added to the logits in training"
        )
    return words


def _by_class(plan: Plan, numbers: tuple[float, ...]) -> str:
    pairs = zip(plan.data.classes, numbers, strict=True)
    return ", ".join(f"{name} {number:g}" for name, number in pairs)
