"""What `calibrate` found: ranks against their bands, coverage by world, in tables and in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
from scipy.stats import fisher_exact

from bayesdense.errors import BayesdenseError
from bayesdense.names import CI_PROB, SCHEMA_VERSION
from bayesdense.result_files import read_result
from bayesdense.studies.calibrate_jobs import interval_name
from bayesdense.studies.made_worlds import WELL_SPECIFIED
from bayesdense.studies.refits import Length
from bayesdense.summary import strict
from bayesdense.wording import listing, printable

RESULT_NAME: Final = "calibrate.json"
_SHOWN: Final = 5
#: Probability with which a check would tell a world that is no other for it.
_BY_CHANCE: Final = 0.001


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What `calibrate` returns.

    Attributes
    ----------
    dataset
        Name, digest and counts of the dataset whose shape the simulated ones have.
    model, model_digest, seed, length
        Of every first fit.
    n_llms, n_fits, truths
        LLMs of each simulated dataset (None: all), simulations of each world, and where truths come
        from: `prior`, or `data` (draws of the posterior given the dataset).
    worlds
        One per world: coverage, bias and width of the model's and of the point pipeline's intervals
        of growth, and every fit that had trouble; see `calibrate.schema.json`.
    ranks
        Simulation-based calibration in the world where the model is right; None if that was not
        asked for, has fewer than 20 fits, or truths are not of the prior.
    record
        Commit, versions, machine and seconds.
    """

    dataset: Mapping[str, Any]
    model: str
    model_digest: str
    seed: int
    length: Length
    n_llms: int | None
    n_fits: int
    truths: str
    worlds: tuple[Mapping[str, Any], ...]
    ranks: Mapping[str, Any] | None
    record: Mapping[str, Any]

    @property
    def status(self) -> str:
        """`fail`, `repeat` or `pass`.

        `fail`: a fit gave no draws where the model is right, a quantity leaves the band of all, or
        the band of one in two studies. `repeat`: a quantity leaves the band of one, and this study
        repeats no other.
        """
        right = [world for world in self.worlds if world["is_right"]]
        found = self.ranks or {"outside_all": [], "outside_twice": [], "outside_single": []}
        if any(world["failed"] for world in right) or found["outside_all"]:
            return "fail"
        if found["outside_twice"]:
            return "fail"
        is_first = found["outside_twice"] is None
        return "repeat" if is_first and found["outside_single"] else "pass"

    def to_dict(self) -> dict[str, Any]:
        """Return it as `calibrate.schema.json` describes it."""
        payload: dict[str, Any] = strict(
            {
                "schema": SCHEMA_VERSION,
                "dataset": dict(self.dataset),
                "model": self.model,
                "model_digest": self.model_digest,
                "seed": self.seed,
                **self.length.to_dict(),
                "n_llms": self.n_llms,
                "n_fits": self.n_fits,
                "truths": self.truths,
                "status": self.status,
                "worlds": [dict(world) for world in self.worlds],
                "ranks": None if self.ranks is None else dict(self.ranks),
                **self.record,
            }
        )
        return payload

    def table(self) -> pd.DataFrame:
        """Return one row per world: what breaks the interval of growth, and by how much."""
        return pd.DataFrame([_row(world) for world in self.worlds])

    def rank_table(self) -> pd.DataFrame:
        """Return one row per quantity that was ranked, without the counts of its ranks."""
        found = {} if self.ranks is None else self.ranks["quantities"]
        rows = [
            {"quantity": name, **{k: v for k, v in one.items() if k != "counts"}}
            for name, one in found.items()
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        """Say what was found."""
        return "\n".join(statements(self.to_dict()))


def _row(world: Mapping[str, Any]) -> dict[str, object]:
    """Row of a world: the model's 95 % interval of growth, and the point pipeline's."""
    out: dict[str, object] = {"world": world["name"], "n": world["n"]}
    for name in ("model", "point"):
        said = world[name]
        held = said["coverage"][interval_name(CI_PROB)]
        ahead = "" if name == "model" else "point_"
        out |= {
            f"{ahead}coverage": held["share"],
            f"{ahead}coverage_low": held["eti95"][0],
            f"{ahead}coverage_high": held["eti95"][1],
            f"{ahead}bias": said["bias"]["mean"],
            f"{ahead}bias_se": said["bias"]["se"],
            f"{ahead}rmse": said["rmse"],
            f"{ahead}median_width": said["median_width"],
            f"{ahead}width_ratio": said["width_ratio"],
            f"{ahead}stretch": said["stretch"],
        }
    return out | {
        "failed": len(world["failed"]),
        "not_converged": len(world["not_converged"]),
        "longer": world["n_longer"],
    }


def statements(payload: Mapping[str, Any]) -> list[str]:
    """Sentences for people."""
    said = []
    if payload["ranks"] is not None:
        said.append(_of_ranks(payload["ranks"]))
    for world in payload["worlds"]:
        held = world["model"]["coverage"][interval_name(CI_PROB)]
        low, high = (f"{100 * end:.0f}" for end in held["eti95"])
        said.append(
            f"{world['name']}: the 95 % interval of growth holds the truth in {held['hits']} of "
            f"{held['n']} ({low} to {high} %)."
        )
    return said + list(_of_reviews(payload["worlds"]))


def _of_reviews(worlds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say which checks tell a wrong world from the right one on the same LLMs and noise."""
    checked = {world["name"]: world["reviews"] for world in worlds if _is_checked(world)}
    usual = checked.pop(WELL_SPECIFIED, None)
    if usual is None:
        return
    for world, found in checked.items():
        told = [
            f"{name} in {100 * here / found['n']:.0f} % of fits "
            f"(else {100 * there / usual['n']:.0f} %)"
            for name, here in sorted(found["counts"].items(), key=lambda item: -item[1])
            if _is_more(here, found["n"], there := usual["counts"].get(name, 0), usual["n"])
        ]
        if told:
            yield f"{world}: a review is asked for by {', '.join(told)}."


def _is_checked(world: Mapping[str, Any]) -> bool:
    """Whether fits of a world were checked for misfit; those of older results were not."""
    return bool(world.get("reviews", {}).get("n"))


def _is_more(here: int, n_here: int, there: int, n_there: int) -> bool:
    """Whether a share is larger than another by more than chance (Fisher's exact test)."""
    counts = [[here, n_here - here], [there, n_there - there]]
    return bool(fisher_exact(counts, alternative="greater").pvalue < _BY_CHANCE)


def _of_ranks(found: Mapping[str, Any]) -> str:
    """Sentence on ranks and bands."""
    outside, single = found["outside_all"], found["outside_single"]
    text = (
        f"Ranks of {found['n_quantities']} quantities over {found['n']} simulations: "
        f"{len(outside)} outside the band of all, {len(single)} outside their own 95 % band "
        f"({found['expected_outside_single']:.1f} expected)."
    )
    for words, names in (
        ("Outside the band of all", outside),
        ("Outside their own band", single),
        ("In the study that this one repeats as well", found["outside_twice"] or []),
    ):
        if names:
            text += f" {words}: {listing(names, _SHOWN)}."
    return text


def outside_before(path: str | Path, digest: str, seed: int) -> list[str]:
    """Quantities that left their own band in an earlier study, which this one repeats.

    Raises
    ------
    BayesdenseError
        The file is no result of `calibrate` with ranks, about other data, or of the same seed.
    """
    where = printable(str(path))
    content = read_result(path, "calibrate", f"result of calibrate; give its {RESULT_NAME}")
    if content["ranks"] is None:
        raise BayesdenseError(f"{where}: holds no ranks; give {RESULT_NAME} of calibrate")
    if content["dataset"]["digest"] != digest:
        raise BayesdenseError(f"{where}: is about other data; repeat the study of this dataset")
    if content["seed"] == seed:
        raise BayesdenseError(
            f"{where}: has seed {seed} as well, and would repeat itself; give another --seed"
        )
    names: list[str] = content["ranks"]["outside_single"]
    return names
