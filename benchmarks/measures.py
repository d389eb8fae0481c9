"""What is said of a run, and of several runs: numbers from draws, and numbers from numbers."""

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import arviz as az
import numpy as np
import xarray as xr

#: An answer that has converged: largest R-hat, and least bulk ESS of any global parameter.
CONVERGED_RHAT, CONVERGED_ESS = 1.01, 1000.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one setting: seconds of sampling, adaptation included, and what they gave."""

    setting: str
    seed: int
    chains: int
    draws: int
    sample_s: float
    compile_s: float | None
    worst: str  # the parameter of the least ESS
    worst_ess: float
    growth_ess: float
    max_rhat: float
    divergences: int
    steps_per_draw: float
    load: float  # of the machine over the last minute: above its cores, seconds are not the run's

    @property
    def ess_per_second(self) -> float:
        """Bulk ESS of the worst global parameter per second of sampling."""
        return self.worst_ess / self.sample_s

    @property
    def growth_ess_per_second(self) -> float:
        """Bulk ESS of the growth rate per second of sampling."""
        return self.growth_ess / self.sample_s

    @property
    def is_converged(self) -> bool:
        """Whether this run alone is an answer."""
        return self.max_rhat <= CONVERGED_RHAT and self.worst_ess >= CONVERGED_ESS

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self) | {
            "ess_per_second": self.ess_per_second,
            "growth_ess_per_second": self.growth_ess_per_second,
            "is_converged": self.is_converged,
        }


#: Numbers of a setting that are reported as a median and a range over seeds.
REPORTED: Mapping[str, Callable[[Run], float | None]] = {
    "ess_per_second": lambda run: run.ess_per_second,
    "growth_ess_per_second": lambda run: run.growth_ess_per_second,
    "worst_ess": lambda run: run.worst_ess,
    "max_rhat": lambda run: run.max_rhat,
    "divergences": lambda run: run.divergences,
    "steps_per_draw": lambda run: run.steps_per_draw,
    "sample_s": lambda run: run.sample_s,
    "compile_s": lambda run: run.compile_s,
    "load": lambda run: run.load,
}


def measure(
    setting: str,
    seed: int,
    draws: xr.Dataset,
    stats: xr.Dataset,
    *,
    sample_s: float,
    compile_s: float | None,
) -> Run:
    """Summarize a run's draws of the global parameters."""
    ess = entries(az.ess(draws, method="bulk"))
    rhat = entries(az.rhat(draws))
    worst = min(ess, key=lambda name: ess[name])
    steps = stats["n_steps"].mean().item() if "n_steps" in stats else float("nan")
    return Run(
        setting=setting,
        seed=seed,
        chains=draws.sizes["chain"],
        draws=draws.sizes["draw"],
        sample_s=sample_s,
        compile_s=compile_s,
        worst=worst,
        worst_ess=ess[worst],
        growth_ess=ess["growth_rate"],
        max_rhat=max(rhat.values()),
        divergences=int(stats["diverging"].sum()),
        steps_per_draw=float(steps),
        load=os.getloadavg()[0],
    )


def entries(values: xr.Dataset) -> dict[str, float]:
    """Every entry of every variable by name, as in `loss_floor[MMLU]`."""
    out = {}
    for name, value in values.data_vars.items():
        if value.ndim == 0:
            out[str(name)] = float(value)
            continue
        (dim,) = value.dims
        for label, entry in zip(value[dim].to_numpy(), value.to_numpy(), strict=True):
            out[f"{name}[{label}]"] = float(entry)
    return out


def summary(runs: Sequence[Run]) -> dict[str, object]:
    """Median, least and largest of every reported number over the runs of one setting."""
    out: dict[str, object] = {
        "seeds": [run.seed for run in runs],
        "chains": runs[0].chains,
        "draws": runs[0].draws,
    }
    for name, value in REPORTED.items():
        values = [found for run in runs if (found := value(run)) is not None]
        if values:
            out[name] = {
                "median": float(np.median(values)),
                "min": float(min(values)),
                "max": float(max(values)),
            }
    return out


def median(settings: Mapping[str, Mapping[str, object]], name: str, what: str) -> float | None:
    """Return the median of a number of a setting; None where the setting was not raced."""
    found = settings.get(name, {}).get(what)
    return float(found["median"]) if isinstance(found, Mapping) else None


def best(
    settings: Mapping[str, Mapping[str, object]], names: Iterable[str], what: str
) -> float | None:
    """Largest median among settings; None where none of them was raced."""
    medians = [median(settings, name, what) for name in names]
    return max((value for value in medians if value is not None), default=None)


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Quotient; None where a part is missing or nothing can be divided by."""
    return numerator / denominator if numerator is not None and denominator else None


def ratios(
    settings: Mapping[str, Mapping[str, object]],
    *,
    ours: str,
    textbook: Sequence[str],
    tuned: Sequence[str],
) -> dict[str, float | None]:
    """How many times as many effective draws a second as the textbook model.

    Parameters
    ----------
    settings
        Name -> `summary`.
    ours
        The setting of bayesdense that counts.
    textbook
        Settings under `pm.sample`'s defaults: the better median counts.
    tuned
        All other settings of the textbook model, and its defaults: nobody tunes to become slower.
    """
    everything = [*textbook, *tuned]
    worst, growth = "ess_per_second", "growth_ess_per_second"
    our_worst, our_growth = (median(settings, ours, what) for what in (worst, growth))
    return {
        "ess_per_second_ratio_vs_textbook_pymc": ratio(our_worst, best(settings, textbook, worst)),
        "ess_per_second_ratio_vs_best_tuned": ratio(our_worst, best(settings, everything, worst)),
        "growth_ess_per_second_ratio": ratio(our_growth, best(settings, textbook, growth)),
    }


def agreement(ours: xr.Dataset, theirs: xr.Dataset) -> dict[str, object]:
    """Differences of the posterior means in units of their Monte Carlo error.

    With as many comparisons as there are parameters, a largest one of 3 is to be expected.
    """
    means, errors = zip(
        *(
            (entries(draws.mean(("chain", "draw"))), entries(az.mcse(draws)))
            for draws in (ours, theirs)
        ),
        strict=True,
    )
    sds = entries(ours.std(("chain", "draw")))
    z = {
        name: (means[0][name] - means[1][name]) / float(np.hypot(errors[0][name], errors[1][name]))
        for name in means[0]
    }
    worst = max(z, key=lambda name: abs(z[name]))
    return {
        "growth_rate": z["growth_rate"],
        "growth_rate_means": [values["growth_rate"] for values in means],
        "growth_rate_sds": [float(draws["growth_rate"].std()) for draws in (ours, theirs)],
        "worst": worst,
        "worst_z": z[worst],
        "worst_in_sds": (means[0][worst] - means[1][worst]) / sds[worst],
        "rms_z": float(np.sqrt(np.mean(np.square(list(z.values()))))),
        "n_parameters": len(z),
        "textbook_max_rhat": max(entries(az.rhat(theirs)).values()),
        "textbook_worst_ess": min(entries(az.ess(theirs, method="bulk")).values()),
    }


def draws_to_converge(run: Run) -> int:
    """Draws a chain for the least ESS that counts, at this run's ESS per draw, with a margin."""
    return int(np.ceil(1.2 * run.draws * max(1.0, CONVERGED_ESS / run.worst_ess)))


def extrapolated(run: Run, *, before: float) -> float:
    """Seconds to a converged answer if ESS grew with time as it did in this run.

    A kindness to chains that have not converged, whose ESS is too large and may never get there.
    """
    return before + run.sample_s * max(1.0, CONVERGED_ESS / run.worst_ess)


def table(settings: Mapping[str, Mapping[str, object]]) -> str:
    """Medians and ranges of every setting as aligned text."""
    columns = list(REPORTED)
    rows = [["setting", *columns]]
    for name, said in settings.items():
        cells = [said.get(column) for column in columns]
        rows.append([name, *(_cell(cell) for cell in cells)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cell(value: object) -> str:
    if not isinstance(value, Mapping):
        return "-"
    middle, low, high = (f"{value[key]:.4g}" for key in ("median", "min", "max"))
    return middle if low == high else f"{middle} ({low}-{high})"


def machine() -> dict[str, object]:
    """What the race was run on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_at_start": os.getloadavg()[0],
    }


def _processor() -> str:
    """Name of the processor, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
