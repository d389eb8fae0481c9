"""Does every shipped variant of the model end, and do its chains agree? One fit of each.

One fit per variant at the defaults of `bayesdense fit`, each a job with a file of its own, so that
the study goes on where it was stopped: `python -m bayesdense.studies.variants --help`.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bayesdense.checks import Checks, check
from bayesdense.dataset import load_dataset
from bayesdense.files import write_text_atomic
from bayesdense.inference import fit
from bayesdense.names import DEFAULT_SEED
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.bookkeeping import Record, Stopwatch, done_once, made_with
from bayesdense.summary import summarize

_LOG = logging.getLogger(__name__)
#: Checks whose advice names the parameter that is worst, passed or not.
_WORST = ("r_hat", "r_hat_effects", "r_hat_sizes", "r_hat_refits", "ess_bulk", "ess_refits")


class Variant(NamedTuple):
    """A model, changed, on a dataset."""

    dataset: str
    model: str = "joint"
    changes: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """The model with the changes made."""
        return load_spec(self.model).with_overrides(self.changes)


#: What takes long comes late, so that a study that is stopped has said something.
VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "published": Variant("densing-published", "trend_only"),
        "published-mmlu": Variant("densing-published-mmlu", "trend_only"),
        "composed": Variant("densing", changes=("residual=composed",)),
        "student_t": Variant("densing", changes=("residual=student_t",)),
        "scale_trend": Variant("densing", changes=("scale_trend=true",)),
        "additive": Variant("densing", changes=("loss_law=additive",)),
        "total": Variant("densing", changes=("params=total",)),
        "calibration_fit": Variant("densing", changes=("calibration=fit",)),
        "cut": Variant("densing", changes=("feedback=cut",)),
        "ladder": Variant("olmo-ladder"),
        "independent": Variant("densing", changes=("loss_noise=independent",)),
        "cell": Variant("densing", changes=("score_noise=cell",)),
        "no_family": Variant("densing", changes=("family=none",)),
        "flat": Variant("densing", changes=("trend=flat",)),
        "break_known": Variant("densing", changes=("trend=break_known@2024-04-01",)),
        **{
            trend: Variant("densing", changes=(f"trend={trend}",))
            for trend in ("quadratic", "random_walk", "gp", "groups", "covariate", "staircase")
        },
        **{
            trend: Variant("densing-published", "trend_only", (f"trend={trend}",))
            for trend in ("hyperbolic", "logistic", "gompertz", "power", "linear", "break_free")
        },
        "latent": Variant("densing", changes=("implementation=latent",)),
    }
)


def run_variant(name: str, **size: int) -> Record:
    """Fit a variant (`size`: draws, tune, chains, where not the defaults) and report on it."""
    variant = VARIANTS[name]
    watch = Stopwatch()
    fitted = fit(variant.spec, load_dataset(variant.dataset), seed=DEFAULT_SEED, **size)  # type: ignore[arg-type]  # counts only
    checks = check(fitted)
    summary = summarize(fitted, checks)
    growth, doubling = (summary[key] for key in ("growth_rate_per_year", "doubling_time_days"))
    return {
        "variant": name,
        "dataset": variant.dataset,
        "model": variant.model,
        "changes": list(variant.changes),
        "growth_rate_per_year": growth and {key: growth[key] for key in ("median", "eti95")},
        "doubling_time_days": doubling and doubling["median"],
        **watch.read(),
        "mean_steps": float(fitted.group("sample_stats")["n_steps"].mean()),
        **_verdict(checks),
        "commit": made_with()["commit"],
    }


def _verdict(checks: Checks) -> Record:
    """Convergence with whose it is worst, and every check that was not passed."""
    return {
        "status": checks.status,
        "max_rhat": checks.max_rhat,
        "min_ess_bulk": checks.min_ess_bulk,
        "divergences": checks.divergences,
        "worst": {item.name: item.advice for item in checks.items if item.name in _WORST},
        "not_passed": {
            item.name: f"{item.status}, {item.value}: {item.advice}"
            for item in checks.items
            if item.status != "pass"
        },
    }


def run_study(names: Sequence[str], out: Path) -> list[Record]:
    """Run the variants that have no file yet; one that cannot end is told, and the rest go on."""
    jobs = []
    for name in names:
        path = out / f"{name}-{VARIANTS[name].spec.digest[:8]}.json"
        try:
            job = done_once(path, partial(run_variant, name))
        except Exception as problem:  # whatever it is, it is this study's finding
            _LOG.exception("%s", name)
            job = {"variant": name, "error": f"{type(problem).__name__}: {problem}"}
        _LOG.info("%s", json.dumps(job))
        jobs.append(job)
    return jobs


def main() -> None:
    """Run the study and write its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", help=f"of {', '.join(VARIANTS)}; none: all")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/variants"))
    parser.add_argument("--summary", type=Path, default=Path("docs/evidence/variants.json"))
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.variants) - set(VARIANTS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; allowed: {', '.join(VARIANTS)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("pymc").setLevel(logging.WARNING)
    about = {"study": "variants", "seed": DEFAULT_SEED, **made_with()}
    jobs = run_study(arguments.variants or list(VARIANTS), arguments.out)
    write_text_atomic(arguments.summary, json.dumps(about | {"jobs": jobs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
