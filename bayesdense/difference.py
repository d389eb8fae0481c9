"""What moved between two fits: their data, models, code and seeds, and what they say of growth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense import derive
from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import DoublingTime, Estimate
from bayesdense.names import BENCHMARK, CHAIN, CI_PROB, DRAW, FAMILY, LLM, SCHEMA_VERSION
from bayesdense.results import Fit
from bayesdense.statements import format_number
from bayesdense.wording import listing

#: Digits in which observations are compared and told: netCDF keeps more.
_DIGITS: Final = 8
#: Monte Carlo errors of a difference of medians beyond which it is no chance of sampling.
_BEYOND_CHANCE: Final = 3.0
_MOST_LLMS: Final = 10
#: Characters of a digest that are told.
_SHORT: Final = 12
_COUNTS: Final = ("n_llms", "n_families", "n_runs", "n_scores", "window", "reference_params")


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that is another in the second fit; None where a fit lacks it."""

    entry: str
    before: object
    after: object

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"entry": self.entry, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class FitDifference:
    """What `diff` returns.

    Attributes
    ----------
    added, removed
        LLMs of the second fit only, of the first only.
    llms
        Changes of LLMs in both: `Yi-6B: release_date`, `Yi-6B: score MMLU`.
    counts
        Changes of the dataset's counts, window and convention, and of reference losses.
    model, code
        Changes of the specification, and of versions.
    same_seed
        Whether both have one seed.
    answers
        Growth, doubling time and checks' precision of each fit.
    shift
        Difference of median growth (second less first): `median`, `mcse` and `in_sd`, in units of
        the first fit's posterior sd.
    densities
        LLMs in both whose median log density moved most: `llm`, `shift`, `in_sd`.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    llms: tuple[Change, ...]
    counts: tuple[Change, ...]
    model: tuple[Change, ...]
    code: tuple[Change, ...]
    same_seed: bool
    answers: tuple[Mapping[str, Any], Mapping[str, Any]]
    shift: Mapping[str, float]
    densities: tuple[Mapping[str, Any], ...]

    @property
    def same_data(self) -> bool:
        """Whether nothing was found to differ in what the models saw."""
        return not (self.added or self.removed or self.llms or self.counts)

    @property
    def statement(self) -> str:
        """Say what changed, how far growth moved, and what that may be put down to."""
        kinds = [
            name
            for name, changed in (
                ("data", not self.same_data),
                ("model", bool(self.model)),
                ("code", bool(self.code)),
                ("seed", not self.same_seed),
            )
            if changed
        ]
        first = f"Changed: {', '.join(kinds)}." if kinds else "Nothing changed."
        moved = abs(self.shift["median"]) > _BEYOND_CHANCE * self.shift["mcse"]
        error = self.shift["mcse"]
        told = f"{format_number(abs(self.shift['median']), error)} (Monte Carlo error {error:.1g})"
        way = "up" if self.shift["median"] > 0 else "down"
        second = (
            f"Median growth moved {way} by {told} per year "
            f"({format_number(abs(self.shift['in_sd']), digits=2)} sd of the first fit)."
            if moved
            else "Median growth moved by no more than sampling with another seed may move it."
        )
        causes = [kind for kind in kinds if kind != "seed"]
        if not moved or len(causes) < 2:
            return f"{first} {second}"
        return (
            f"{first} {second} Which of {' and '.join(causes)} moved it these two fits cannot "
            "tell: fit with only one of them changed."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as `diff.schema.json` describes it."""
        return {
            "schema": SCHEMA_VERSION,
            "fits": [dict(answer) for answer in self.answers],
            "statement": self.statement,
            "growth_shift": dict(self.shift),
            "data": {
                "same": self.same_data,
                "added": list(self.added),
                "removed": list(self.removed),
                "llms": [change.to_dict() for change in self.llms],
                "counts": [change.to_dict() for change in self.counts],
            },
            "model": [change.to_dict() for change in self.model],
            "code": [change.to_dict() for change in self.code],
            "same_seed": self.same_seed,
            "densities": [dict(row) for row in self.densities],
        }

    def __repr__(self) -> str:
        """Say what changed."""
        return f"FitDifference({self.statement})"


def diff(first: Fit, second: Fit) -> FitDifference:
    """Compare two fits: what they were made of, and what they say.

    Parameters
    ----------
    first, second
        Fits of one kind: both of scores, or both of published densities.

    Returns
    -------
    FitDifference
        What moved, with a sentence in ``statement``.

    Raises
    ------
    BayesdenseError
        One is of scores and the other of published densities: their densities are not alike.

    Examples
    --------
    ``diff(load_fit("fits/march"), load_fit("fits/april")).statement``
    """
    if first.spec.is_joint != second.spec.is_joint:
        raise BayesdenseError(
            "diff: one fit is of scores and the other of published densities; compare fits of "
            "one kind"
        )
    known = [_llms_of(fit) for fit in (first, second)]
    common = [name for name in known[0] if name in known[1]]
    growth = [derive.growth_rate(fit) for fit in (first, second)]
    added = tuple(name for name in known[1] if name not in known[0])
    removed = tuple(name for name in known[0] if name not in known[1])
    llms = tuple(
        Change(f"{name}: {change.entry}", change.before, change.after)
        for name in common
        for change in _changes(known[0][name], known[1][name])
    )
    counts = tuple(_changes(_data_of(first), _data_of(second)))
    if not (added or removed or llms or counts):
        counts = tuple(_changes(_content_of(first), _content_of(second)))
    return FitDifference(
        added=added,
        removed=removed,
        llms=llms,
        counts=counts,
        model=tuple(_changes(_model_of(first), _model_of(second))),
        code=tuple(_changes(first.versions, second.versions)),
        same_seed=first.seed == second.seed,
        answers=(_answer(first, growth[0]), _answer(second, growth[1])),
        shift=_shift(*growth),
        densities=tuple(_moved(first, second, common)),
    )


def _changes(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[Change]:
    """Entries that differ, in the order of the first."""
    for entry in dict.fromkeys([*before, *after]):
        one, other = before.get(entry), after.get(entry)
        if one != other:
            yield Change(entry, one, other)


def _llms_of(fit: Fit) -> dict[str, dict[str, object]]:
    """What a fit saw of each LLM: date, parameters, family, scores or density."""
    constant, observed = fit.group("constant_data"), fit.group("observed_data")
    names = [str(name) for name in fit.posterior[LLM].values]
    known: dict[str, dict[str, object]] = {name: {} for name in names}
    families = constant[FAMILY].values if FAMILY in constant.coords else None
    for k, name in enumerate(names):
        entry = known[name]
        if "release_date" in constant.coords:
            entry["release_date"] = str(constant["release_date"].values[k])
        if "n_params" in constant and np.isfinite(size := float(constant["n_params"].values[k])):
            entry["n_params"] = size
        if families is not None and "family_idx" in constant:
            entry["family"] = str(families[int(constant["family_idx"].values[k])])
        if "log_density" in observed:
            entry["density"] = _rounded(np.exp(float(observed["log_density"].values[k])))
    for name, benchmark, score in _scores_of(fit, constant, observed):
        known[name][f"score {benchmark}"] = score
    return known


def _scores_of(
    fit: Fit, constant: xr.Dataset, observed: xr.Dataset
) -> Iterator[tuple[str, str, float]]:
    """LLM, benchmark and score of every cell."""
    if "score_llm_idx" not in constant or "score" not in observed:
        return
    llms, benchmarks = fit.posterior[LLM].values, fit.posterior[BENCHMARK].values
    cells = zip(
        constant["score_llm_idx"].values,
        constant["score_benchmark_idx"].values,
        expit(observed["score"].values),
        strict=True,
    )
    for i, j, score in cells:
        yield str(llms[int(i)]), str(benchmarks[int(j)]), _rounded(float(score))


def _rounded(value: float) -> float:
    """Number to the digits in which observations are compared."""
    return float(f"{value:.{_DIGITS}g}")


def _data_of(fit: Fit) -> dict[str, object]:
    """Counts of the dataset, and the reference losses that differ without a count telling it."""
    info = fit.dataset_info
    known: dict[str, object] = {name: info.get(name) for name in _COUNTS}
    convention = derive.params_convention(fit) if fit.spec.is_joint else None
    observed = fit.group("observed_data")
    sums = {
        f"mean of {what}": _rounded(float(observed[name].mean()))
        for name, what in (("loss", "log reference losses"), ("loss_score", "calibration logits"))
        if name in observed
    }
    return {**known, "params": convention, **sums}


def _content_of(fit: Fit) -> dict[str, object]:
    """Digest of the whole dataset, which tells of what is not looked at: items, noise, its card."""
    return {"content (digest)": str(fit.dataset_info["digest"])[:_SHORT]}


def _model_of(fit: Fit) -> dict[str, object]:
    """Options, kinds and priors in use, each by its dotted path."""
    raw: dict[str, Any] = fit.spec.to_dict()
    options = {f"options.{name}": value for name, value in raw["options"].items()}
    entries: dict[str, object] = {"name": raw["name"], **options}
    for name, component in fit.spec.components.items():
        entries[f"{name}.kind"] = component.kind
        for variable, prior in component.used_priors(fit.spec.options).items():
            for key, value in _flat(prior.to_dict()):
                entries[f"{name}.priors.{variable}.{key}"] = value
    return entries


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Entries of a prior by dotted path, without its reasons."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif key != "reason":
            yield prefix + key, value


def _answer(fit: Fit, growth: Estimate) -> dict[str, Any]:
    """What a fit says of growth."""
    time = DoublingTime(growth)
    ends = [None if np.isinf(end) else end for end in time.interval(CI_PROB)]
    return {
        "dataset": fit.dataset_info.get("name"),
        "dataset_digest": fit.dataset_info.get("digest"),
        "model": fit.spec.name,
        "model_digest": fit.spec.digest,
        "seed": fit.seed,
        "bayesdense": fit.versions.get("bayesdense"),
        "at": growth.at,
        "growth_rate_per_year": {
            "median": growth.median,
            "sd": growth.sd,
            "eti95": list(growth.interval(CI_PROB)),
            "p_positive": growth.probability_above(0.0).value,
        },
        "doubling_time_days": {
            "median": None if np.isinf(time.median) else time.median,
            "eti95": ends,
            "unbounded": time.is_unbounded(),
        },
    }


def _shift(first: Estimate, second: Estimate) -> dict[str, float]:
    """Difference of median growth, its Monte Carlo error, and it in sds of the first."""
    median = second.median - first.median
    errors = [error for error in (first.mcse(), second.mcse()) if np.isfinite(error)]
    in_sd = median / first.sd if first.sd > 0 else 0.0
    return {"median": median, "mcse": float(np.hypot.reduce([0.0, *errors])), "in_sd": in_sd}


def _moved(first: Fit, second: Fit, common: list[str]) -> Iterator[dict[str, Any]]:
    """LLMs in both fits whose median log density moved most, in sds of the first fit's."""
    if not common or not all("log_density" in fit.posterior for fit in (first, second)):
        return
    one, other = (fit.posterior["log_density"].sel({LLM: common}) for fit in (first, second))
    shift = (other.median((CHAIN, DRAW)) - one.median((CHAIN, DRAW))).values
    sd = one.std((CHAIN, DRAW), ddof=1).values
    in_sd = np.divide(shift, sd, out=np.zeros_like(shift), where=sd > 0)
    for k in np.argsort(-np.abs(in_sd), kind="stable")[:_MOST_LLMS]:
        yield {"llm": common[k], "shift": float(shift[k]), "in_sd": float(in_sd[k])}


def change_lines(found: FitDifference) -> Iterator[str]:
    """Say the changes in lines of text, long lists shortened."""
    for what, names in (("added", found.added), ("removed", found.removed)):
        if names:
            yield f"LLMs {what} ({len(names)}): {listing(names)}"
    for title, changes in (
        ("LLM", found.llms),
        ("data", found.counts),
        ("model", found.model),
        ("code", found.code),
    ):
        for change in changes[:_MOST_LLMS]:
            yield f"{title}: {change.entry}: {_shown(change.before)} -> {_shown(change.after)}"
        if len(changes) > _MOST_LLMS:
            yield f"{title}: and {len(changes) - _MOST_LLMS} more"


def _shown(value: object) -> str:
    """Value for people; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
