"""The study of every shipped variant: what it runs and keeps, and, behind a flag, the fits."""

import json
from pathlib import Path

import pytest

from bayesdense.dataset import load_dataset
from bayesdense.observations import observe
from bayesdense.spec import KINDS
from bayesdense.studies import variants
from bayesdense.studies.bookkeeping import done_once, made_with
from bayesdense.studies.variants import VARIANTS, run_study
from bayesdense.trends import form_of


def test_every_kind_of_every_component_has_a_variant() -> None:
    used = {
        (name, form_of(component.kind))
        for variant in VARIANTS.values()
        for name, component in variant.spec.components.items()
    }
    assert used == {(name, kind) for name, kinds in KINDS.items() for kind in kinds}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_fit_their_data(name: str) -> None:
    variant = VARIANTS[name]
    seen = observe(variant.spec, load_dataset(variant.dataset))
    assert (seen.scores is not None) == variant.spec.is_joint


def test_one_that_cannot_end_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(name: str) -> dict[str, object]:
        ran.append(name)
        if name == "cell" and ran.count("cell") == 1:
            raise FloatingPointError("no number")
        return {"variant": name, "status": "pass"}

    monkeypatch.setattr(variants, "run_variant", run)
    first = run_study(["cell", "flat"], tmp_path)
    assert first == [
        {"variant": "cell", "error": "FloatingPointError: no number"},
        {"variant": "flat", "status": "pass"},
    ]
    assert run_study(["cell", "flat"], tmp_path)[0] == {"variant": "cell", "status": "pass"}
    assert ran == ["cell", "flat", "cell"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_job_is_done_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs" / "one.json"
    assert done_once(path, lambda: {"answer": 42}) == {"answer": 42}
    assert done_once(path, lambda: {"answer": 43}) == {"answer": 42}


def test_a_record_says_what_it_was_made_with() -> None:
    record = json.loads(json.dumps(made_with()))
    assert {"bayesdense", "pymc", "nutpie", "arviz", "numpy"} <= set(record["versions"])
    assert "cores" in record["machine"]
    assert record["commit"] is None or len(record["commit"]) == 40


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_ends(name: str, studies: Path) -> None:
    (job,) = run_study([name], studies / "variants")
    assert "error" not in job, job["error"]
    assert job["max_rhat"] < 1.05, job["worst"]  # type: ignore[operator]
    assert job["divergences"] <= 100, job["not_passed"]  # type: ignore[operator]
