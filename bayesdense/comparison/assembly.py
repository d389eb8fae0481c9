"""From the results of a comparison's jobs to what it says."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from bayesdense.comparison import lfo as future
from bayesdense.comparison.answer import Comparison, Evidence, Hypothesis
from bayesdense.comparison.hiding import foretold
from bayesdense.comparison.importance import RELIABLE_K
from bayesdense.comparison.plan import Plan, failed_llms
from bayesdense.comparison.pointwise import Difference, Pointwise, stacking_weights, with_refits
from bayesdense.comparison.tasks import Result, from_json
from bayesdense.comparison.verdict import Scores, pairs, posterior_probabilities, verdict
from bayesdense.comparison.widths import WIDTHS
from bayesdense.errors import BayesdenseError
from bayesdense.inference import counts_of
from bayesdense.jobs import Job
from bayesdense.observations import LLMData, observe
from bayesdense.spec import ModelSpec


def assembled(
    plan: Plan,
    base: ModelSpec,
    found: Mapping[Job, Result],
    power: Mapping[str, Any] | None,
) -> Comparison:
    """Put results together."""
    hypotheses = tuple(_read(plan, name, found) for name in plan.specs)
    scores = {one.name: one.scores for one in hypotheses}
    later = {name: one.lfo for name, one in scores.items() if one.lfo is not None}
    compared = pairs(scores)
    return Comparison(
        dataset=plan.dataset.summary() | counts_of(observe(base, plan.dataset)),
        model=base,
        hypotheses=hypotheses,
        pairs=compared,
        weights_family=stacking_weights({name: one.family for name, one in scores.items()}),
        weights_lfo=stacking_weights(later) if len(later) == len(scores) else {},
        probabilities={
            factor: posterior_probabilities(
                {one.name: one.evidence[factor].value for one in hypotheses}
            )
            for factor in WIDTHS
        },
        verdict=verdict(list(scores), compared),
        blocks=plan.blocks,
        power=power,
        seed=plan.about.seed,
    )


def _read(plan: Plan, name: str, found: Mapping[Job, Result]) -> Hypothesis:
    """What was found of one hypothesis."""
    main, failures = found[plan.main(name)], list[str]()
    if "trend_log_density" not in main:
        raise BayesdenseError(
            f"{name}: its fit was made by an older version, which kept no curve of the trend; "
            "delete the folder of the study, or name another with --out"
        )
    families = {family: found[plan.without(name, family)] for family in main["failed_families"]}
    llms_left_out = {llm: found[plan.without_llm(name, llm)] for llm in failed_llms(main)}
    later = [found[job] for job in plan.until(name)]
    family = _exact(main["family"], main["failed_families"], families, failures, "family")
    llm = _exact(main["llm"], failed_llms(main), llms_left_out, failures, "LLM")
    llms = observe(plan.specs[name], plan.dataset).llms
    lfo, mcse = foretold_blocks(plan.blocks, llms, later, failures)
    evidence = {factor: _evidence_at(plan, name, factor, found, failures) for factor in WIDTHS}
    smc, nested, own = main["smc"], main["nested"], evidence[1.0]
    if smc is not None and smc["value"] is None:
        why = smc.get("failed") or f"chains {smc['spread']:.1f} nats apart"
        failures.append(f"sequential Monte Carlo: {why}")
    inner = None
    if nested is not None and nested["reliable"]:
        inner = (nested["name"], Difference(nested["value"], nested["se"]))
    elif nested is not None:
        failures.append(f"Savage-Dickey ratio over {nested['name']}: {nested['problem']}")
    again = [found[job] for job in plan.widths(name, main)]
    refits = (*families.values(), *llms_left_out.values())
    others, usual = (*refits, *later, *again), plan.about.length.draws
    rhats = [one["max_rhat"] for one in others if one.get("max_rhat")]
    checks = main["checks"] | {
        "pareto_k_families": list(family.failed),
        "pareto_k_llms": list(llm.failed),
        "refitted_families": [one for one in families if one not in family.failed],
        "refitted_llms": [one for one in llms_left_out if one not in llm.failed],
        "max_rhat_refits": max(rhats, default=None),
        "n_longer": sum(one.get("draws", 0) > usual for one in (main["checks"], *others)),
        "failures": failures,
    }
    known = None if own.value is None or own.se is None else (own.value, own.se)
    return Hypothesis(
        name=name,
        model_digest=plan.specs[name].posterior_digest,
        scores=Scores(family, llm, lfo, known, inner),
        evidence=MappingProxyType(evidence),
        smc=smc,
        growth=main["growth_rate_per_year"],
        doubling_time=main["doubling_time_days"],
        trend=main["trend_log_density"],
        checks=MappingProxyType(checks),
        lfo_mcse=mcse,
    )


def _exact(
    found: Result,
    at_whole: Mapping[str, Any],
    refits: Mapping[str, Result],
    failures: list[str],
    what: str,
) -> Pointwise:
    """Units left out, by refits where weights fail; adds to `failures` those that fail too."""

    def exact(label: str) -> float | None:
        if label not in refits:  # a result of an earlier version
            return None
        try:
            _refuse_failed(refits[label])
            draws = np.array(at_whole[label])
            return foretold(np.array(refits[label]["gains"]), draws).log_density
        except BayesdenseError as error:
            failures.append(f"without {what} {label}: {error}")
            return None

    return with_refits(from_json(found), exact)


def foretold_blocks(
    blocks: Sequence[future.Block], llms: LLMData, refits: Sequence[Result], failures: list[str]
) -> tuple[Pointwise | None, float | None]:
    """Leave-future-out of a hypothesis and its Monte Carlo error; none where a block fails.

    Parameters
    ----------
    blocks, llms
        Blocks of these LLMs.
    refits
        What `tasks.told_of_blocks` says at each of the edges; none where it was not asked for.
    failures
        Blocks that fail are added to these.
    """
    if not refits:
        return None, None
    found = []
    for block, one, other in zip(blocks, refits, refits[1:], strict=False):
        try:
            _refuse_failed(one)
            _refuse_failed(other)
            found.append(foretold(np.array(one["ahead"][0]), np.array(other["behind"][0])))
        except BayesdenseError as error:
            failures.append(f"leave-future-out, block {block.start}: {error}")
    if len(found) < len(blocks):
        return None, None
    units = [(b.start, family) for b in blocks for family in future.families_in(llms, b)]
    parts = np.concatenate([one.parts for one in found])
    pointwise = Pointwise(
        tuple(f"{start} {family}" for start, family in units),
        tuple(family for _, family in units),
        parts,
        np.zeros(len(parts)),
        RELIABLE_K,
    )
    return pointwise, float(np.sqrt(sum(one.se**2 for one in found)))


def _refuse_failed(result: Result) -> None:
    """Raise what a job raised."""
    if "failed" in result:
        raise BayesdenseError(result["failed"])


def _evidence_at(
    plan: Plan,
    name: str,
    factor: float,
    found: Mapping[Job, Result],
    failures: list[str],
) -> Evidence:
    """Log marginal likelihood at a width: by bridge, by weights, or by a refit's bridge."""
    main = found[plan.main(name)]
    log_ml, change = main["log_ml"], main["widths"][str(factor)]
    how = "bridge" if factor == 1.0 else "importance" if change["reliable"] else "refit"
    if how == "refit":
        refit = found[plan.width(name, factor)]
        log_ml = refit.get("log_ml", {"value": None, "se": None, "failed": refit.get("failed")})
    if log_ml["failed"] and how != "importance":  # whose failure is the bridge's
        failures.append(f"evidence at {factor:g} times the priors' widths: {log_ml['failed']}")
    if how != "importance" or log_ml["value"] is None:
        return Evidence(log_ml["value"], log_ml["se"], how)
    error = float(np.hypot(log_ml["se"], change["se"]))
    return Evidence(log_ml["value"] + change["value"], error, how)
