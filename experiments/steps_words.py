"""What is said of a profile of iterations: as tables, in words and as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .cli_speech import console

if TYPE_CHECKING:
    from profiles.steps import StepProfile


def list_steps() -> list[dict[str, Any]]:
    """The shipped profiles of iterations, each as plain data."""
    from profiles.steps_store import load, names

    return [summary(load(name)) for name in names()]


def print_list(found: list[dict[str, Any]]) -> None:
    """The list as a table."""
    from .terminal import rows_table

    keys = ("iterations", "prefill", "sequences", "context", "one step", "tokens/s")
    rows = (
        (f["name"], f["prefill_max"], f["sequences_max"], f["context_max"],
         f"{f['decode_ms']:.3g} ms", f"{f['tokens_per_s']:,.0f}")
        for f in found
    )  # fmt: skip
    console().print(rows_table(rows, *keys))


def summary(profile: StepProfile) -> dict[str, Any]:
    """What a list says of one."""
    most = profile.step_ns[0, -1, 0]
    return {
        "name": profile.name,
        "prefill_max": int(profile.prefill[-1]),
        "sequences_max": int(profile.sequences[-1]),
        "context_max": int(profile.context[-1]),
        "decode_ms": float(profile.step_ns[0, 1, 0]) / 1e6,
        "tokens_per_s": float(profile.sequences[-1] / most * 1e9),
    }


def held_out(profile: StepProfile) -> dict[str, Any]:
    """How far off the grid it is off."""
    found = profile.held_out()
    errors = sorted(abs(one.error) for one in found)
    if not errors:
        return {}
    return {
        "held_out": [
            {**one.work._asdict(), "measured_ms": one.measured_ns / 1e6,
             "predicted_ms": one.predicted_ns / 1e6, "error": one.error}
            for one in found
        ],
        "error_median": errors[len(errors) // 2],
        "error_max": errors[-1],
    }  # fmt: skip


def held_out_words(found: dict[str, Any]) -> str:
    """The same in words."""
    if "error_median" not in found:
        return "nothing was held out"
    return (
        f"off by {100 * found['error_median']:.1f} % in the median of {len(found['held_out'])} "
        f"iterations off the grid, {100 * found['error_max']:.1f} % at worst"
    )


def details(profile: StepProfile) -> dict[str, Any]:
    """Everything as plain data."""
    import numpy as np

    form, noise = profile.form(), profile.noise()
    return {
        **summary(profile),
        "prefill": profile.prefill.tolist(),
        "sequences": profile.sequences.tolist(),
        "context": profile.context.tolist(),
        "step_ms": (profile.step_ns / 1e6).tolist(),
        "formula_ns": dict(zip(form._fields[:5], form[:5], strict=True)),
        "calls": profile.counts(),
        "noise": {
            "lag1": profile.lag1,
            **{f"p{p}": float(np.quantile(noise, p / 100)) for p in (1, 10, 50, 90, 99)},
        },
        **held_out(profile),
        "about": dict(profile.about),
    }


def print_steps(profile: StepProfile) -> None:
    """Tables and facts."""
    from .terminal import facts, rows_table

    found, middle = details(profile), len(profile.context) // 2
    title = (
        f"{profile.name}: ms of an iteration, by prefill tokens and decoding sequences of "
        f"{profile.context[middle]} tokens each"
    )
    heads = ("prefill \\ sequences", *(str(one) for one in profile.sequences))
    rows = (
        (int(prefill), *(_ms(step) for step in profile.step_ns[p, :, middle]))
        for p, prefill in enumerate(profile.prefill)
    )
    console().print(rows_table(rows, *heads, title=title))
    about = profile.about
    console().print(
        facts(
            {
                "formula": formula_words(found["formula_ns"]),
                "held out": held_out_words(found),
                "noise": noise_words(found["noise"], len(profile.noise())),
                "prompts": f"of {profile.prompt_tokens} tokens",
                "calls": ", ".join(f"{n:,} {kind}" for kind, n in found["calls"].items() if n),
                "model": about.get("model"),
                "device": about.get("device_name"),
                "framework": about.get("framework"),
                "measured": about.get("measured"),
                "load": about.get("load_average"),
                "priority": about.get("priority"),
                "command": about.get("command"),
            }
        )
    )


def formula_words(found: Mapping[str, float]) -> str:
    """The coefficients; those that are 0 are left out."""
    parts = [
        f"{found[key] / scale:.3g} {unit}"
        for key, scale, unit in (
            ("fixed_ns", 1e6, "ms"),
            ("prefill_token_ns", 1e3, "us a prefill token"),
            ("sequence_ns", 1e3, "us a sequence"),
            ("context_token_ns", 1.0, "ns a token of context"),
            ("pair_ns", 1.0, "ns a pair of query and key"),
        )
        if found[key]
    ]
    return " + ".join(parts) + "; the grid keeps what it leaves"


def noise_words(found: Mapping[str, float], count: int) -> str:
    """Quantiles over the median."""
    if count < 2:
        return "not measured"
    low, high, most = found["p10"], found["p90"], found["p99"]
    return f"p10 {low:.2f}, p90 {high:.2f}, p99 {most:.2f} of the median, lag-1 {found['lag1']:.2f}"


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.2f}" if ns else "-"
