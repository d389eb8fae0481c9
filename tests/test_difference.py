"""Two fits side by side: what changed is found, and nothing that did not."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from fake_fit import fake_fit
from program import hold, invoke

import bayesdense as bd
from bayesdense.difference import diff
from bayesdense.errors import BayesdenseError
from bayesdense.results import Fit

LN2_DAYS = 365.25 * np.log(2)


def altered(fit: Fit, group: str, **variables: object) -> Fit:
    """Replace variables of a group, everything else as it was."""
    groups = {name: node.to_dataset() for name, node in fit.tree.children.items()}
    groups[group] = groups[group].assign(variables)
    tree = xr.DataTree.from_dict({f"/{name}": content for name, content in groups.items()})
    tree.attrs.update(fit.tree.attrs)
    return Fit(tree, fit.spec)


def test_a_fit_does_not_differ_from_itself() -> None:
    found = diff(fake_fit(), fake_fit())
    assert found.same_data
    assert found.same_seed
    assert not found.model
    assert not found.code
    assert found.shift["median"] == 0.0
    assert found.statement.startswith("Nothing changed. ")
    hold(found.to_dict(), "diff")


def test_data_that_differ_in_what_is_not_looked_at_are_told() -> None:
    """Items, noise and a swap of two losses leave counts and means alone, but not the digest."""
    one, other = fake_fit(), fake_fit()
    info = json.loads(other.tree.attrs["dataset"]) | {"digest": "1" * 64}
    other.tree.attrs["dataset"] = json.dumps(info)
    found = diff(one, other)
    assert not found.same_data
    assert found.statement.startswith("Changed: data.")
    (change,) = found.counts
    assert (change.before, change.after) == ("0" * 12, "1" * 12)
    hold(found.to_dict(), "diff")


def test_llms_that_came_and_went_are_named() -> None:
    one, other = fake_fit(llms=["a", "b", "c"]), fake_fit(llms=["b", "c", "d"])
    found = diff(one, other)
    assert found.added == ("d",)
    assert found.removed == ("a",)
    assert not found.same_data
    assert "data" in found.statement


def test_a_changed_date_size_and_score_are_told_with_both_values() -> None:
    fit = fake_fit()
    constant, observed = fit.group("constant_data"), fit.group("observed_data")
    sizes = constant["n_params"].copy(deep=True)
    sizes[2] = 2.0 * sizes[2]
    logits = observed["score"].copy(deep=True)
    logits[0] = 0.0
    dates = constant["release_date"].values.copy()
    dates[1] = "2030-01-01"
    other = altered(fit, "constant_data", n_params=sizes)
    other = altered(other, "observed_data", score=logits)
    groups = {name: node.to_dataset() for name, node in other.tree.children.items()}
    groups["constant_data"] = groups["constant_data"].assign_coords(release_date=("llm", dates))
    tree = xr.DataTree.from_dict({f"/{name}": content for name, content in groups.items()})
    tree.attrs.update(fit.tree.attrs)
    found = diff(fit, Fit(tree, fit.spec))
    names = [str(name) for name in fit.posterior["llm"].values]
    benchmark = str(fit.posterior["benchmark"].values[0])
    changes = {change.entry: change for change in found.llms}
    assert set(changes) == {
        f"{names[0]}: score {benchmark}",
        f"{names[1]}: release_date",
        f"{names[2]}: n_params",
    }
    assert changes[f"{names[0]}: score {benchmark}"].after == 0.5
    assert changes[f"{names[2]}: n_params"].after == 2.0 * changes[f"{names[2]}: n_params"].before  # type: ignore[operator]
    assert changes[f"{names[1]}: release_date"].after == "2030-01-01"


def test_options_kinds_and_priors_are_told_apart() -> None:
    entry = "trend.priors.growth_rate.kwargs.sigma"
    changes = {"reference_tokens": 1e12, "family": "none", entry: 1.0}
    model = {change.entry: change for change in diff(fake_fit(), fake_fit(options=changes)).model}
    assert set(model) >= {"options.reference_tokens", "family.kind", entry}
    assert (model[entry].before, model[entry].after) == (2.0, 1.0)
    # a prior that the other kind does not use is not there
    assert model["family.priors.family_sd.dist"].after is None
    assert not any("reason" in name for name in model)


def test_growth_that_moved_is_told_and_growth_that_did_not() -> None:
    one, other = fake_fit(growth=1.0, growth_sd=0.1), fake_fit(growth=2.0, growth_sd=0.1)
    found = diff(one, other)
    assert found.shift["median"] == pytest.approx(1.0, abs=0.03)
    assert found.shift["in_sd"] == pytest.approx(10.0, rel=0.1)
    assert "moved up by" in found.statement
    days = [answer["doubling_time_days"]["median"] for answer in found.to_dict()["fits"]]
    assert days == [pytest.approx(LN2_DAYS, rel=0.02), pytest.approx(LN2_DAYS / 2, rel=0.02)]
    rng = np.random.default_rng(5)
    again = fake_fit(growth_draws=rng.normal(1.0, 0.1, (4, 250)))
    assert "no more than sampling" in diff(one, again).statement


def test_two_causes_are_not_told_apart() -> None:
    one = fake_fit(llms=["a", "b", "c"], growth=1.0)
    other = fake_fit(llms=["b", "c", "d"], growth=2.0, options={"reference_tokens": 1e12})
    assert (
        "Which of data and model moved it these two fits cannot tell" in diff(one, other).statement
    )


def test_unbounded_ends_are_null() -> None:
    found = diff(fake_fit(growth=0.1, growth_sd=0.3), fake_fit(growth=-1.0, growth_sd=0.1))
    hold(found.to_dict(), "diff")
    times = [answer["doubling_time_days"] for answer in found.to_dict()["fits"]]
    assert times[0]["eti95"][1] is None
    assert times[1]["median"] is None


def test_the_density_that_moved_most_comes_first() -> None:
    fit = fake_fit()
    draws = fit.posterior["log_density"].copy(deep=True)
    draws[..., 3] = draws[..., 3] + 5.0
    found = diff(fit, altered(fit, "posterior", log_density=draws))
    assert found.densities[0]["llm"] == str(fit.posterior["llm"].values[3])
    assert found.densities[0]["shift"] == pytest.approx(5.0)
    assert found.densities[1]["shift"] == 0.0


def test_scores_and_published_densities_are_not_compared() -> None:
    with pytest.raises(BayesdenseError, match="of one kind"):
        diff(fake_fit(), fake_fit(densities_only=True))
    hold(diff(fake_fit(densities_only=True), fake_fit(densities_only=True)).to_dict(), "diff")


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_verb_answers_in_three_forms(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder, growth in zip(folders, (1.0, 2.0), strict=True):
        fake_fit(growth=growth).save(folder, files={"summary.json": b"{}"})
    status, out, err = invoke(monkeypatch, capsys, "diff", *folders, "--format", form)
    assert (status, err) == (0, "")
    if form == "json":
        hold(json.loads(out), "diff")
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [round(float(row["growth_rate_per_year_median"])) for row in rows] == [1, 2]
    else:
        assert "Median growth moved up" in " ".join(out.split())


def test_it_is_public() -> None:
    assert bd.diff is diff
