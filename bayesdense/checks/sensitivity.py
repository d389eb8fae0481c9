"""How growth moves as a prior, or a part of the likelihood, is made stronger: power scaling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import xarray as xr
from arviz_stats.base.array import array_stats

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.checks.arrays import growth_varies
from bayesdense.checks.stages import is_cut
from bayesdense.checks.thresholds import THRESHOLDS
from bayesdense.checks.verdict import CheckResult, json_number, judged, unmeasured
from bayesdense.commands import study_of_fit
from bayesdense.errors import BayesdenseError
from bayesdense.names import CHAIN, DRAW
from bayesdense.prior_entries import PRIOR_GROUPS, prior_entries
from bayesdense.results import Fit
from bayesdense.smoothing import LEAST_SMOOTHED, can_smooth
from bayesdense.statements import format_number
from bayesdense.wording import printable

#: Powers between which the derivative is taken, ArviZ's.
_POWERS: Final = (0.99, 1.01)
_LIMIT: Final = THRESHOLDS.psense.good
_GOOD_K: Final = THRESHOLDS.pareto_k.good
_NAMED: Final = 3
#: Part of the likelihood -> variable of `log_likelihood` and words.
_PARTS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "loss": ("losses", "losses of reference runs"),
        "loss_score": ("loss_score", "calibration points"),
        "score_reports": ("score_reports", "replicated reports"),
        "llm": ("family", "scores of LLMs"),
    }
)
#: The same of a model of given densities.
_GIVEN: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"llm": ("family", "densities of LLMs")}
)


@dataclass(frozen=True, slots=True)
class Scaled:
    """Power scaling of one part of a posterior.

    Attributes
    ----------
    name
        A group of priors, the path of an entry in the model's TOML, or a part of the likelihood.
    about
        The same in words.
    group
        Group of an entry; else empty.
    sensitivity
        Of growth: mean derivative of the cumulative Jensen-Shannon distance in log2 of the power.
    shift_in_sd
        By how many posterior sds the mean of growth moves as the power doubles, to first order.
    pareto_k
        Shape of the weights' tail; above .7 the sensitivity is not to be trusted.
    """

    name: str
    about: str
    group: str
    sensitivity: float
    shift_in_sd: float
    pareto_k: float

    @property
    def is_reliable(self) -> bool:
        """Whether its weights are."""
        return self.pareto_k <= _GOOD_K

    @property
    def is_high(self) -> bool:
        """Whether it is above .05, or not known to be below."""
        return not (self.sensitivity <= _LIMIT and self.is_reliable)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {name: json_number(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        """Name and number."""
        said = format_number(self.sensitivity, digits=2)
        trust = "" if self.is_reliable else f", its weights fail: Pareto k {self.pareto_k:.2f}"
        return f"{self.name} ({said}{trust})"


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Sensitivity of the growth rate at the last release; what `sensitivity` returns.

    Attributes
    ----------
    prior, likelihood
        All priors together, and all data.
    groups, entries
        Groups of priors, in the order of the generative story, and every entry of the model's
        TOML whose prior depends on no other variable.
    likelihoods
        Parts of the data: reference losses, calibration points, replicated reports, LLMs.
    """

    prior: Scaled
    likelihood: Scaled
    groups: tuple[Scaled, ...]
    entries: tuple[Scaled, ...]
    likelihoods: tuple[Scaled, ...]

    @property
    def named(self) -> tuple[Scaled, ...]:
        """Entries that growth leans on, the largest first.

        Those above .05; of a group (or of all priors together) above .05 without one of them, the
        largest.
        """
        found = [entry for entry in self.entries if entry.is_high]
        for whole in (*self.groups, self.prior):
            members = [e for e in self.entries if whole is self.prior or e.group == whole.name]
            if whole.is_high and not set(members) & set(found):
                found.append(max(members, key=lambda entry: entry.sensitivity))
        return tuple(sorted(found, key=lambda entry: -entry.sensitivity))

    @property
    def leans_on(self) -> str:
        """Those of `named`, with their numbers, as far as a message has room for them."""
        more = len(self.named) - _NAMED
        said = ", ".join(map(str, self.named[:_NAMED]))
        return printable(said + (f" and {more} more" if more > 0 else ""))

    @property
    def largest(self) -> Scaled:
        """The largest of entries, groups and all priors; one whose weights fail before others."""
        every = (*self.entries, *self.groups, self.prior)
        return max(every, key=lambda part: (not part.is_reliable, part.sensitivity))

    @property
    def diagnosis(self) -> str:
        """What it means, after Kallioinen et al. 2024; empty where no prior is above .05."""
        if not self.named:
            return ""
        if self.likelihood.sensitivity > _LIMIT:
            return "prior-data conflict: priors and data pull growth apart"
        return "weak likelihood: the data say little of growth beside the priors"

    def to_dict(self) -> dict[str, Any]:
        """Return it as `sensitivity.schema.json` describes it."""
        return {
            "prior": self.prior.to_dict(),
            "likelihood": self.likelihood.to_dict(),
            "groups": [part.to_dict() for part in self.groups],
            "entries": [part.to_dict() for part in self.entries],
            "likelihoods": [part.to_dict() for part in self.likelihoods],
            "named": [part.name for part in self.named],
            "diagnosis": self.diagnosis,
        }


def sensitivity(fit: Fit) -> Sensitivity:
    """Power-scale priors and likelihood, and say how the growth rate moves.

    A density p(theta) is replaced by p(theta)^a for powers a near 1, draws weighted by
    p(theta)^(a - 1) with Pareto smoothed weights; the sensitivity is the derivative in log2 a of
    the cumulative Jensen-Shannon distance between the posteriors of growth, as ArviZ's `psense`
    takes it. Priors are those at the top of the hierarchy; effects of families and runs are
    integrated out of the likelihood.

    Parameters
    ----------
    fit
        A fit of all data at once with the groups `log_prior` and `log_likelihood`.

    Returns
    -------
    Sensitivity
        Of groups, single entries, parts of the likelihood.

    Raises
    ------
    BayesdenseError
        A cut fit, which has no one posterior of all data; a trend that cannot grow; a fit without
        log likelihoods, or with too few draws.

    References
    ----------
    Kallioinen, Paananen, Buerkner and Vehtari 2024, Stat. Comput. 34:57.
    """
    if problem := why_not(fit):
        raise BayesdenseError(f"power scaling: {problem}")
    growth = _matrix(derive.growth_rate(fit).draws)
    likelihood, prior = fit.group("log_likelihood"), fit.group("log_prior")
    known = [entry for entry in prior_entries(fit.spec) if entry.variable in prior]
    entries = [_Part(e.path, e.variable, e.group, _matrix(prior[e.variable])) for e in known]
    groups = [
        _together(name, about, [entry for entry in entries if entry.group == name])
        for name, about in PRIOR_GROUPS.items()
        if any(entry.group == name for entry in entries)
    ]
    parts = [
        _Part(name, about, "", _matrix(likelihood[variable]))
        for name, (variable, about) in (_PARTS if fit.spec.is_joint else _GIVEN).items()
        if variable in likelihood
    ]
    wholes = _together("prior", "all priors", entries), _together("likelihood", "all data", parts)
    of_priors, of_data = _scaled(growth, wholes)
    return Sensitivity(
        prior=of_priors,
        likelihood=of_data,
        groups=_scaled(growth, groups),
        entries=_scaled(growth, entries),
        likelihoods=_scaled(growth, parts),
    )


def why_not(fit: Fit) -> str:
    """Why growth of a fit has no power scaling; empty where it has."""
    if is_cut(fit):
        return "a cut fit has no one posterior of all data"
    likelihood = fit.group("log_likelihood")
    needed = ("family", "losses", "loss_score") if fit.spec.is_joint else ("family",)
    if not fit.group("log_prior").data_vars or not all(name in likelihood for name in needed):
        return "the fit did not keep the log densities that it takes"
    if not growth_varies(fit):
        return "growth does not vary under this trend, or is not finite"
    return ""


def psense(fit: Fit) -> Iterator[CheckResult]:
    """Check that growth does not lean on a prior; a fit that kept no likelihoods has no answer."""
    if why_not(fit):
        return
    try:
        found = sensitivity(fit)
    except BayesdenseError as error:
        yield unmeasured("psense", str(error))
        return
    value = found.largest.sensitivity if found.largest.is_reliable else float("nan")
    if not found.named:
        yield judged("psense", value, f"largest: {found.largest}; {_beside(found)}")
        return
    entries = [entry.name for entry in found.named]
    yield judged(
        "psense",
        value,
        f"growth leans on {found.leans_on}; {_beside(found)}; {found.diagnosis}",
        f"see by how much: {width_command(fit, entries)}",
    )


def width_command(fit: Fit, entries: list[str]) -> str:
    """Command line that fits again with each of these priors at half and at double width."""
    return study_of_fit(fit, "sweep", "--axes", ",".join(f"width@{entry}" for entry in entries))


def _beside(found: Sensitivity) -> str:
    """Priors and data as a whole."""
    of = (format_number(part.sensitivity, digits=2) for part in (found.prior, found.likelihood))
    return "all priors together {}, all data {}".format(*of)


def _matrix(draws: xr.DataArray) -> Floats:
    """Draws of one number, (chain, draw): a vector's summed over its entries."""
    others = [dim for dim in draws.dims if dim not in (CHAIN, DRAW)]
    return np.asarray(draws.sum(others).transpose(CHAIN, DRAW).to_numpy(), dtype=float)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Log density of one part, (chain, draw)."""

    name: str
    about: str
    group: str
    log_density: Floats


def _together(name: str, about: str, parts: Sequence[_Part]) -> _Part:
    """Parts as one."""
    return _Part(name, about, "", np.sum([part.log_density for part in parts], axis=0))


def _scaled(growth: Floats, parts: Sequence[_Part]) -> tuple[Scaled, ...]:
    """Power-scale each of several parts; one that is the same in all draws does nothing."""
    log_density = np.stack([part.log_density for part in parts])  # (part, chain, draw)
    varies = np.ptp(log_density, axis=(1, 2)) > 0.0
    moving = log_density[varies]
    found = np.zeros((3, len(parts)))
    found[2] = -np.inf
    if varies.any():
        _refuse_ties(moving)
        lower, upper = (_weights(moving, power) for power in _POWERS)
        every = np.broadcast_to(growth, moving.shape)
        found[0, varies] = array_stats.power_scale_sense(every, lower, upper, *_POWERS)
        found[1, varies] = [_shift(growth, density) for density in moving]
        found[2, varies] = np.max([_pareto_k(moving, power) for power in _POWERS], axis=0)
    return tuple(
        Scaled(part.name, part.about, part.group, *map(float, column))
        for part, column in zip(parts, found.T, strict=True)
    )


def _refuse_ties(log_density: Floats) -> None:
    """Refuse log densities (part, chain, draw) of which ArviZ could smooth no tail."""
    for signed in (log_density, -log_density):
        if not can_smooth(xr.DataArray(signed, dims=("part", CHAIN, DRAW))):
            raise BayesdenseError(
                "power scaling: Pareto smoothing takes draws that differ, and "
                f"{LEAST_SMOOTHED} of them or more: draw more (--draws)"
            )


def _weights(log_density: Floats, power: float) -> Floats:
    """Pareto smoothed weights of draws under a power of a density, (part, chain, draw)."""
    log_weights = np.asarray(array_stats.power_scale_lw(log_density, power, axis=(-2, -1)))
    weights = np.exp(log_weights - log_weights.max(axis=(-2, -1), keepdims=True))
    return np.asarray(weights / weights.sum(axis=(-2, -1), keepdims=True))


def _pareto_k(log_density: Floats, power: float) -> Floats:
    """Shape of the right tail of the raw weights of each part."""
    # Not ArviZ's pareto_khat, which takes the tail of log weights and not of weights (1.0).
    return np.asarray(array_stats.psislw((1.0 - power) * log_density, axis=(-2, -1))[1])


def _shift(growth: Floats, log_density: Floats) -> float:
    """Derivative of the mean of growth in log2 of the power, in sds: Cov[growth, log p] ln 2."""
    covariance = np.cov(growth.ravel(), log_density.ravel())
    return float(np.log(2.0) * covariance[0, 1] / np.sqrt(covariance[0, 0]))
