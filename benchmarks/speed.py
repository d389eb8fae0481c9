"""Race bayesdense against the textbook PyMC model: same data, priors and likelihood.

Settings take turns: seed 1 of every setting, then seed 2, and so on, so that a busy spell of the
machine hits all of them. Progress goes to stderr, the answer to stdout.
"""

import argparse
import datetime as dt
import json
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr
    from contenders import Contender, Drawn
    from measures import Run

QUICK_SEEDS, FULL_SEEDS = 2, 5
#: Seeds of the race count from the first; the others choose the tuned setting.
FIRST_SEED = 1
TUNING_SEEDS = (9001, 9002, 9003)
#: What the textbook model is given to converge in before its time is extrapolated.
MOST_SECONDS_TO_CONVERGE = 900
_PACKAGES = ("bayesdense", "pymc", "pytensor", "nutpie", "arviz", "numba", "numpy")
_SIZES = (1, 10, 100)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    asked = parser().parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.getLogger("pymc").setLevel(logging.ERROR)
    result = race(asked)
    text = json.dumps(plain(result), indent=1, allow_nan=False)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    print(text if asked.format == "json" else as_text(result))
    return 0


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    out = argparse.ArgumentParser(
        description="Race bayesdense against the textbook PyMC model.",
        epilog="With --only: a setting is raced if its name contains one of the words given. "
        "Names begin with 'bayesdense' or 'textbook'; see README.md.",
    )
    out.add_argument("--quick", action="store_true", help="under 10 minutes, without slow settings")
    out.add_argument("--format", choices=("table", "json"), default="table")
    out.add_argument("--seeds", type=_positive, metavar="N", help="seeds of every setting")
    out.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON to this file")
    out.add_argument("--dataset", default="densing")
    out.add_argument("--only", nargs="+", metavar="NAME", help="race these settings alone")
    return out


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("allowed: 1 or more")
    return number


def race(asked: argparse.Namespace) -> dict[str, object]:
    """Run everything that was asked for, in turns."""
    # Here, as these imports take seconds that --help should not.
    import contenders
    import measures

    began = time.perf_counter()
    started = dt.datetime.now(dt.UTC)
    count = asked.seeds or (QUICK_SEEDS if asked.quick else FULL_SEEDS)
    seeds = [FIRST_SEED + k for k in range(count)]
    racing, skipped = chosen(contenders.contenders(asked.dataset), asked.only, quick=asked.quick)
    candidates, _ = chosen(contenders.tuned(asked.dataset), asked.only, quick=asked.quick)
    tuning: list[Run] = []
    if asked.quick:
        racing += [one for one in candidates if one.name == contenders.CHOSEN]
    elif candidates:
        tuning, _ = in_turns(candidates, TUNING_SEEDS)
        racing.append(next(one for one in candidates if one.name == fastest(tuning)))
    runs, draws = in_turns(racing, seeds)
    settings = {
        one.name: measures.summary([run for run in runs if run.setting == one.name])
        for one in racing
    }
    defaults = tuple(contenders.DEFAULTS.values())
    tuned = [one.name for one in racing if one.name.startswith("textbook")]
    result: dict[str, object] = {
        **measures.ratios(settings, ours=contenders.OURS, textbook=defaults, tuned=tuned),
        "seconds_to_converged_ratio": None,
        "warm_seconds": None,
        "cold_seconds": None,
        "gradient_microseconds": None,
        "seeds": seeds,
        "quick": asked.quick,
        "dataset": asked.dataset,
        "date": started.date().isoformat(),
        "machine": measures.machine(),
        "versions": {name: version(name) for name in _PACKAGES},
        "settings": settings,
        "skipped": skipped,
        "tuning": [run.to_dict() for run in tuning],
        "runs": [run.to_dict() for run in runs],
    }
    if not asked.only:
        result |= whole_processes(asked, runs, draws)
        result |= gradients(asked.dataset)
    result["minutes"] = (time.perf_counter() - began) / 60
    return result


def chosen(
    everything: Sequence["Contender"], only: Sequence[str] | None, *, quick: bool
) -> tuple[list["Contender"], dict[str, str]]:
    """Settings to race, and why others are not."""
    racing, skipped = [], {}
    for one in everything:
        if only is not None and not any(word in one.name for word in only):
            continue
        if one.missing:
            skipped[one.name] = one.missing
        elif quick and one.is_slow and only is None:
            skipped[one.name] = "slow: left out of --quick"
        else:
            racing.append(one)
    return racing, skipped


def in_turns(
    racing: Sequence["Contender"], seeds: Sequence[int]
) -> tuple[list["Run"], dict[str, list["Drawn"]]]:
    """Run every setting with the first seed, then with the second, and so on."""
    from measures import measure

    runs: list[Run] = []
    draws: dict[str, list[Drawn]] = {one.name: [] for one in racing}
    for seed in seeds:
        for one in racing:
            drawn = one.run(seed)
            draws[one.name].append(drawn)
            run = measure(
                one.name,
                seed,
                drawn.draws,
                drawn.stats,
                sample_s=drawn.sample_s,
                compile_s=drawn.compile_s,
            )
            runs.append(run)
            tell(
                f"{one.name}, seed {seed}: {run.sample_s:.1f} s, worst ESS {run.worst_ess:.0f} "
                f"({run.worst}), {run.ess_per_second:.1f}/s, R-hat {run.max_rhat:.3f}, "
                f"{run.divergences} divergences, {run.steps_per_draw:.0f} steps"
            )
    return runs, draws


def fastest(runs: Sequence["Run"]) -> str:
    """Setting of the largest median of worst ESS per second."""
    from measures import median, summary

    names = dict.fromkeys(run.setting for run in runs)
    settings = {name: summary([run for run in runs if run.setting == name]) for name in names}
    return max(names, key=lambda name: median(settings, name, "ess_per_second") or 0.0)


def whole_processes(
    asked: argparse.Namespace, runs: Sequence["Run"], draws: Mapping[str, Sequence["Drawn"]]
) -> dict[str, object]:
    """Whole processes cold and warm, the time to a converged answer, and whether answers agree."""
    import contenders
    import processes
    from measures import agreement, ratio

    tell("whole processes, cold and warm")
    ours = processes.cold_and_warm(processes.run_fit, asked.dataset, FIRST_SEED)
    if asked.quick:  # what comes before sampling, with the caches that the race has filled
        short = processes.run_textbook(asked.dataset, FIRST_SEED, os.environ, draws=10, tune=10)
        theirs, before = {}, short.wall_s - float(short.parts_s["sample"] or 0.0)
    else:
        theirs = processes.cold_and_warm(processes.run_textbook, asked.dataset, FIRST_SEED)
        before = theirs["warm"].wall_s - float(theirs["warm"].parts_s["sample"] or 0.0)
    ours_converged = ours_to_converge(asked, runs, ours["warm"].wall_s)
    theirs_converged, long_run = textbook_to_converge(asked, runs, before)
    compared = _pooled(draws[contenders.OURS])
    reference = long_run
    if reference is None:  # --quick: all that the race drew
        name = str(theirs_converged["setting"])
        reference = _pooled(draws[name])
    return {
        "warm_seconds": ours["warm"].wall_s,
        "cold_seconds": ours["cold"].wall_s,
        "processes": {
            side: {state: process.to_dict() for state, process in states.items()}
            for side, states in (("bayesdense", ours), ("textbook", theirs))
        },
        "seconds_to_converged": {"bayesdense": ours_converged, "textbook": theirs_converged},
        "seconds_to_converged_ratio": ratio(
            float(theirs_converged["seconds"]), float(ours_converged["seconds"])
        ),
        "agreement": agreement(compared, reference),
    }


def _pooled(drawn: Sequence["Drawn"]) -> "xr.Dataset":
    """Draws of several runs as chains of one."""
    import numpy as np
    import xarray as xr

    pooled = xr.concat([one.draws for one in drawn], "chain", join="override")
    return pooled.assign_coords(chain=np.arange(pooled.sizes["chain"]))


def ours_to_converge(
    asked: argparse.Namespace, runs: Sequence["Run"], warm: float
) -> dict[str, object]:
    """Seconds of a warm `bayesdense fit` whose draws have converged, everything derived as well."""
    import contenders
    import processes
    from measures import draws_to_converge, extrapolated

    ours = [run for run in runs if run.setting == contenders.OURS]
    converged = sum(run.is_converged for run in ours)
    said: dict[str, object] = {"converged_runs": converged, "runs": len(ours)}
    if 2 * converged > len(ours):
        return said | {"setting": contenders.OURS, "seconds": warm, "extrapolated": False}
    run = sorted(ours, key=lambda run: run.ess_per_second)[len(ours) // 2]
    draws = draws_to_converge(run)
    if asked.quick:
        seconds = extrapolated(run, before=warm - run.sample_s)
        return said | {"setting": contenders.OURS, "seconds": seconds, "extrapolated": True}
    environment = dict(os.environ)
    seconds = processes.run_fit(asked.dataset, FIRST_SEED, environment, draws=draws).wall_s
    return said | {"setting": f"bayesdense 4x{draws}", "seconds": seconds, "extrapolated": False}


def textbook_to_converge(
    asked: argparse.Namespace, runs: Sequence["Run"], before: float
) -> tuple[dict[str, object], "xr.Dataset | None"]:
    """Seconds of a whole warm textbook process until its draws have converged.

    Its better version under `pm.sample`'s defaults is run with 4 chains and doubled draws until it
    has converged or its time is up. With --quick, and where time is up, the seconds are
    extrapolated from the last run, as if ESS grew with time, and marked.
    """
    import contenders
    from measures import extrapolated, measure

    defaults = contenders.DEFAULTS
    name = fastest([run for run in runs if run.setting in defaults.values()])
    of_name = [run for run in runs if run.setting == name]
    run = sorted(of_name, key=lambda run: run.ess_per_second)[len(of_name) // 2]
    said: dict[str, object] = {"setting": name, "before_sampling": before}
    if asked.quick:
        return said | {"seconds": extrapolated(run, before=before), "extrapolated": True}, None
    kind = next(key for key, value in defaults.items() if value == name)
    draws, spent = 8000, 0.0
    while True:
        drawn = contenders.run_pymc(asked.dataset, kind, FIRST_SEED, draws=draws, chains=4)
        run = measure(
            name,
            FIRST_SEED,
            drawn.draws,
            drawn.stats,
            sample_s=drawn.sample_s,
            compile_s=drawn.compile_s,
        )
        tell(
            f"{name}, 4x{draws}: {run.sample_s:.0f} s, worst ESS {run.worst_ess:.0f}, "
            f"R-hat {run.max_rhat:.3f}"
        )
        spent += run.sample_s
        if run.is_converged or spent + 2 * run.sample_s > MOST_SECONDS_TO_CONVERGE:
            break
        draws *= 2
    said |= {"draws": draws, "run": run.to_dict(), "extrapolated": not run.is_converged}
    seconds = before + run.sample_s if run.is_converged else extrapolated(run, before=before)
    return said | {"seconds": seconds}, drawn.draws


def gradients(dataset: str) -> dict[str, object]:
    """Microseconds of one gradient at the data's size and at multiples of it."""
    import contenders
    from gradients import at_mode, gradient_microseconds, tiled

    data = contenders.observations(dataset)
    z = at_mode(data)  # the same for more LLMs: sizes are integrated out, families are as many
    by_size = {}
    for times in _SIZES:
        more = tiled(data, times)
        by_size[len(more.llms.names)] = gradient_microseconds(more, z)
        tell(f"gradient at {len(more.llms.names)} LLMs: {by_size[len(more.llms.names)]:.0f} us")
    return {
        "gradient_microseconds": by_size[len(data.llms.names)],
        "gradient_microseconds_by_llms": by_size,
    }


def plain(value: object) -> object:
    """Values of JSON: no NaN, no infinity, no type of NumPy."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def as_text(result: Mapping[str, object]) -> str:
    """The result as a table and its headline numbers."""
    from measures import table

    lines = [table(result["settings"]), ""]
    for name, value in result.items():
        if name.startswith("runs") or name in ("settings", "tuning", "processes"):
            continue
        lines.append(f"{name}: {json.dumps(plain(value))}")
    return "\n".join(lines)


def tell(text: str) -> None:
    """Say progress on stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
