"""What a dataset is once it is read: types, defaults, digest, warnings, counts."""

import json
import pickle
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import (
    CARD,
    Change,
    add_column,
    add_row,
    cell,
    drop_column,
    every_cell,
    keep_rows,
    tables,
    tiny_dataset,
    tiny_densities,
    to_csv,
)

from bayesdense import inference
from bayesdense.catalog import dataset_names, shipped_root
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.inference import counts_of
from bayesdense.observations import observe
from bayesdense.spec import load_spec

TABLES = ("benchmarks", "runs", "loss_scores", "llms", "scores", "score_reports")


def load(tmp_path: Path, name: str = "tiny", card: str = CARD, **changes: Change) -> Dataset:
    return load_dataset(tiny_dataset(tmp_path, name=name, card=card, **changes))


def test_tables_and_types(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    assert dataset.name == "tiny"
    assert dataset.card["title"] == "A tiny dataset for tests"
    assert not dataset.is_densities
    llms = dataset.llms
    assert llms is not None
    assert list(llms.columns) == [
        "llm",
        "release_date",
        "n_params",
        "n_tokens",
        "family",
        "is_base",
    ]
    assert llms["release_date"].dtype == "datetime64[ns]"
    assert llms["n_params"].dtype == np.float64
    assert llms["is_base"].dtype == bool
    assert llms["is_base"].sum() == 6
    for name in TABLES:
        frame = getattr(dataset, name)
        assert isinstance(frame.index, pd.RangeIndex)
        assert frame.shape[0] == len(tables()[name]) - 1


def test_cells_keep_their_values_and_rows_their_order(tmp_path: Path) -> None:
    scores = load(tmp_path).scores
    assert scores is not None
    expected = tables()["scores"][1:]
    assert scores["llm"].tolist() == [row[0] for row in expected]
    assert scores["score"].tolist() == [float(row[2]) for row in expected]


def test_absent_columns_have_their_meaning(tmp_path: Path) -> None:
    dataset = load(
        tmp_path,
        llms=[drop_column("is_base"), drop_column("family")],
        loss_scores=drop_column("role"),
    )
    assert dataset.llms is not None
    assert dataset.llms["is_base"].all()
    assert dataset.llms["family"].tolist() == dataset.llms["llm"].tolist()
    assert dataset.loss_scores is not None
    assert set(dataset.loss_scores["role"]) == {"fit"}
    assert any("7 of 7 LLMs have no family" in line for line in dataset.warnings)


def test_blank_optional_cells(tmp_path: Path) -> None:
    dataset = load(
        tmp_path,
        llms=[cell(2, "n_tokens", ""), cell(3, "n_tokens", "nan"), cell(6, "is_base", "")],
        loss_scores=cell(3, "role", ""),
        score_reports=cell(2, "own_report", ""),
    )
    assert dataset.llms is not None and dataset.loss_scores is not None
    assert dataset.llms["n_tokens"].isna().tolist() == [True, True, *[False] * 5]
    assert dataset.llms["is_base"][4]
    assert dataset.loss_scores["role"][1] == "fit"
    assert dataset.score_reports is not None and not dataset.score_reports["own_report"][0]


def test_an_llm_without_family_joins_no_other(tmp_path: Path) -> None:
    """LLM Gamma-9B has no family, and another LLM's family happens to be called Gamma-9B."""
    llms = load(tmp_path, llms=[cell(7, "family", ""), cell(8, "family", "Gamma-9B")]).llms
    assert llms is not None
    assert llms["family"].tolist()[-2:] == ["Gamma-9B (alone)", "Gamma-9B"]


def test_score_reports_may_be_absent(tmp_path: Path) -> None:
    assert load(tmp_path, score_reports=None).score_reports is None


def text(name: str) -> str:
    return to_csv(tables()[name])


SAME: dict[str, dict[str, Change]] = {
    "byte-order mark": {"llms": "\ufeff" + text("llms")},
    "CRLF": {"scores": text("scores").replace("\n", "\r\n")},
    "old Macintosh line ends": {"scores": text("scores").replace("\n", "\r")},
    "no last line end": {"scores": text("scores").rstrip()},
    "blank lines and rows of commas": {"scores": text("scores") + "\n,,\n\n"},
    "empty columns at the end": {"scores": text("scores").replace("\n", ",,\n")},
    "spaces around cells": {"scores": text("scores").replace(",", " , ")},
    "counts in powers": {"llms": cell(2, "n_params", "7e9")},
    "counts with a point": {"llms": cell(2, "n_params", "7000000000.0")},
    "booleans in capitals": {"llms": every_cell("is_base", str.upper)},
    "booleans as numbers": {"llms": every_cell("is_base", lambda v: "1" if v == "true" else "0")},
    "columns in another order": {"scores": lambda rows: [row[::-1] for row in rows]},
    "quoted cells": {"scores": text("scores").replace("Alpha-7B", '"Alpha-7B"')},
    "a blank optional column": {"llms": add_column("maker")},
    "unknown column": {"llms": add_column("colour", "blue")},
    "trailing zeros": {"scores": every_cell("score", lambda v: v + "00")},
}


@pytest.mark.parametrize("spelling", SAME)
def test_digest_is_that_of_the_content(tmp_path: Path, spelling: str) -> None:
    expected = load(tmp_path, "plain")
    dataset = load(tmp_path, "other", **SAME[spelling])
    assert dataset.digest == expected.digest
    for name in TABLES:
        got, want = getattr(dataset, name), getattr(expected, name)
        pd.testing.assert_frame_equal(got[list(want.columns)], want)


def test_digest_is_that_of_composed_names(tmp_path: Path) -> None:
    """An accent typed as a letter or as a mark of its own: one name, in one spelling."""

    def named(name: str) -> dict[str, Change]:
        column = every_cell("llm", lambda llm: name if llm == "Alpha-7B" else llm)
        return {table: column for table in ("llms", "scores", "score_reports")}

    composed = load(tmp_path, "composed", **named("\u00c5lpha-7B"))
    decomposed = load(tmp_path, "decomposed", **named("A\u030alpha-7B"))
    mixed = named("A\u030alpha-7B") | {"llms": named("\u00c5lpha-7B")["llms"]}
    assert composed.digest == decomposed.digest == load(tmp_path, "mixed", **mixed).digest
    assert decomposed.llms is not None and decomposed.llms["llm"][0] == "\u00c5lpha-7B"


def test_a_column_described_in_another_spelling_is_described(tmp_path: Path) -> None:
    card = CARD + '[columns]\n"ann\u00e9e" = "of the release"\n'
    spelt = load(tmp_path, card=card, llms=add_column("anne\u0301e", "2024"))
    assert spelt.warnings == load(tmp_path, "plain").warnings


OTHER: dict[str, dict[str, Change]] = {
    "a score": {"scores": cell(2, "score", "0.7467")},
    "a role": {"loss_scores": cell(2, "role", "fit")},
    "a date": {"llms": cell(2, "release_date", "2023-02-25")},
    "order of rows": {"scores": lambda rows: [rows[0], *rows[:0:-1]]},
    "a row less": {"score_reports": lambda rows: rows[:-1]},
    "no reports": {"score_reports": None},
    "a known column more": {"llms": add_column("maker", "ACME")},
}


@pytest.mark.parametrize("change", OTHER)
def test_digest_tells_contents_apart(tmp_path: Path, change: str) -> None:
    assert load(tmp_path, "a").digest != load(tmp_path, "b", **OTHER[change]).digest


def test_digest_counts_reference_params_but_no_words(tmp_path: Path) -> None:
    plain = load(tmp_path, "a")
    assert load(tmp_path, "b", card=CARD.replace("tiny", "small")).digest == plain.digest
    assert load(tmp_path, "c", card=CARD.replace("total", "active")).digest != plain.digest


def test_digest_is_fixed(tmp_path: Path) -> None:
    """Fits keep the digest: a change here makes every saved fit a stranger to its dataset."""
    digest = load(tmp_path).digest
    assert digest == "db3295d02940b371c41a248b78399797caf268fdb31cba8b3bd3151b2e2400bc"


def test_legal_scores(tmp_path: Path) -> None:
    """Exactly 0 and 1, and below chance (0.25)."""
    spoilt = [cell(2, "score", "0"), cell(3, "score", "1"), cell(4, "score", "0.066")]
    scores = load(tmp_path, scores=spoilt).scores
    assert scores is not None
    assert scores["score"].tolist()[:3] == [0.0, 1.0, 0.066]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path)
    (folder / "notes.csv").write_bytes(b"\xff\x00")
    (folder / "extra").mkdir()
    assert load_dataset(folder).warnings == load(tmp_path, "plain").warnings


def warnings(tmp_path: Path, card: str = CARD, **changes: Change) -> list[str]:
    """Warnings that the changes add to those of the tiny dataset."""
    usual = load(tmp_path, "plain").warnings
    return [w for w in load(tmp_path, "other", card, **changes).warnings if w not in usual]


def test_tiny_datasets_own_warnings(tmp_path: Path) -> None:
    assert load(tmp_path).warnings == (
        "Only 6 LLMs (fewer than 20): expect a wide interval for growth.",
        "Only 4 families (fewer than 10): growth rests on differences between families.",
    )


WARNINGS: list[tuple[dict[str, Change], str]] = [
    (
        {"llms": add_column("colour"), "scores": [add_column("shots"), add_column("note")]},
        "llms.csv: columns that nothing here uses are left out: colour.",
    ),
    ({"llms": cell(2, "family", "")}, "llms.csv: 1 of 6 LLMs have no family"),
    (
        {"llms": every_cell("release_date", lambda _: "2024-05-01")},
        "The window is narrow: 0 days from 2024-05-01 to 2024-05-01",
    ),
    (
        {"scores": keep_rows(lambda row: row["llm"] != "Beta-7B-chat")},
        "LLMs that are not base LLMs have no score and are never used: Beta-7B-chat.",
    ),
    (
        {"runs": [every_cell("n_tokens", lambda _: "1e10")]},
        "Reference runs of a single number of tokens cannot tell how loss falls with tokens: MMLU",
    ),
    (
        {"runs": every_cell("n_params", lambda _: "1e8")},
        "Reference runs of a single size cannot tell how loss falls with size: MMLU, BBH.",
    ),
    (
        {
            "benchmarks": add_row("MATH", "5000", "0", "nats/token"),
            "runs": lambda rows: rows + [[r[0], "MATH", *r[2:]] for r in rows[1:10]],
        },
        "Benchmarks with reference runs but no LLM scores: MATH.",
    ),
    (
        {"benchmarks": add_row("MATH", "5000", "0", "nats/token")},
        "Benchmarks without reference runs are not used: MATH.",
    ),
    (
        {"loss_scores": lambda rows: rows[:4] + rows[7:]},
        "Fewer than 4 points of loss and score, so the score map rests on its priors: MMLU.",
    ),
    (
        {"loss_scores": add_column("run", lambda row: "0.05B-10x" if row[0] == "BBH" else "0.5B")},
        "loss_scores.csv names runs that runs.csv has not: 0.5B.",
    ),
]


@pytest.mark.parametrize(("changes", "start"), WARNINGS)
def test_warning(tmp_path: Path, changes: dict[str, Change], start: str) -> None:
    assert any(line.startswith(start) for line in warnings(tmp_path, **changes))


def test_warning_of_one_ratio(tmp_path: Path) -> None:
    """Tokens always twenty times the parameters: size and tokens cannot be told apart."""

    def chinchilla(rows: list[list[str]]) -> list[list[str]]:
        many = [*rows[1:10], *rows[1:10]]
        sizes = [f"{1e7 * (i + 1):.0f}" for i in range(18)]
        return [
            rows[0],
            *(
                [f"run{i}", "MMLU" if i < 9 else "BBH", n, f"{float(n) * 20:.0f}", row[4]]
                for i, (n, row) in enumerate(zip(sizes, many, strict=True))
            ),
        ]

    (line,) = warnings(tmp_path, runs=chinchilla)
    assert line.startswith("Reference runs of a single ratio of tokens to parameters")
    assert line.endswith("MMLU, BBH.")


def test_unknown_columns_are_named_once_and_described_ones_never(tmp_path: Path) -> None:
    change = [add_column("colour", "blue"), add_column("shape", "round")]
    (line,) = warnings(tmp_path, scores=change)
    assert line == "scores.csv: columns that nothing here uses are left out: colour, shape."
    card = CARD + '[columns]\ncolour = "of the logo"\n[columns.scores]\nshape = "of the logo"\n'
    assert load(tmp_path, "third", card, scores=change).warnings == load(tmp_path, "4").warnings


def test_warnings_about_the_count_of_parameters(tmp_path: Path) -> None:
    silent = CARD.splitlines()[0]
    found = warnings(tmp_path, card=silent, llms=add_column("n_params_non_embedding", ""))
    assert found[0].startswith("The card does not say how the reference runs' parameters")
    assert found[1].startswith("llms.csv gives non-embedding parameters for 0 of 6 base LLMs")
    told = CARD.replace("total", "non_embedding")
    whole = add_column("n_params_non_embedding", lambda row: row[4])
    assert load(tmp_path, "third", told, llms=whole).warnings == load(tmp_path, "4").warnings


def test_an_unknown_way_to_count_parameters_is_a_warning(tmp_path: Path) -> None:
    (line, *_) = warnings(tmp_path, card=CARD.replace("total", "totl"))
    assert line.startswith("The card's reference_params is 'totl', none of total, active, non_em")


def test_part_counts_may_exceed_a_rounded_total_a_little(tmp_path: Path) -> None:
    """16.423e9 non-embedding parameters of a 16.4e9 LLM: the total is rounded."""
    llms = load(
        tmp_path, llms=add_column("n_params_active", lambda r: f"{1.02 * float(r[4])}")
    ).llms
    assert llms is not None and (llms["n_params_active"] > llms["n_params"]).all()


def test_base_only(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    base = dataset.base_only()
    assert base.llms is not None and base.scores is not None and base.score_reports is not None
    for frame in (base.llms, base.scores, base.score_reports):
        assert "Beta-7B-chat" not in set(frame["llm"])
        assert isinstance(frame.index, pd.RangeIndex)
    assert (base.name, base.digest, base.card) == (dataset.name, dataset.digest, dataset.card)
    assert dataset.llms is not None and len(dataset.llms) == 7, "the whole dataset is untouched"
    assert base.base_only() is base
    densities = load_dataset(tiny_densities(tmp_path))
    assert densities.base_only() is densities


def test_summary_counts_base_llms(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    summary = dataset.summary()
    assert summary == {
        "name": "tiny",
        "digest": dataset.digest,
        "n_llms": 6,
        "n_families": 4,
        "n_runs": 18,
        "n_scores": 11,
        "window": ["2023-02-24", "2025-01-10"],
    }
    assert dataset.base_only().summary() == summary
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_densities(tmp_path: Path) -> None:
    dataset = load_dataset(tiny_densities(tmp_path, add_column("density_log_sd", "0.1")))
    assert dataset.is_densities
    assert all(getattr(dataset, name) is None for name in TABLES)
    assert dataset.densities is not None
    columns = ["llm", "release_date", "density", "family", "density_log_sd"]
    assert list(dataset.densities.columns) == columns
    summary = dataset.summary()
    assert (summary["n_llms"], summary["n_runs"], summary["n_scores"]) == (7, None, None)


def test_densities_without_family(tmp_path: Path) -> None:
    dataset = load_dataset(tiny_densities(tmp_path, drop_column("family")))
    assert dataset.densities is not None
    assert dataset.densities["family"].tolist() == dataset.densities["llm"].tolist()
    assert any("7 of 7 LLMs have no family" in line for line in dataset.warnings)


def test_a_dataset_travels_between_processes(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.digest == dataset.digest
    pd.testing.assert_frame_equal(copy.scores, dataset.scores)


def test_repr_is_short(tmp_path: Path) -> None:
    assert repr(load(tmp_path)).startswith('Dataset({"name": "tiny", "digest": ')


@pytest.mark.parametrize("name", dataset_names())
def test_shipped_dataset(name: str) -> None:
    dataset = load_dataset(name)
    assert dataset.name == name
    assert not any("columns that nothing here uses" in line for line in dataset.warnings)
    with (shipped_root() / "data" / name / "card.toml").open("rb") as stream:
        assert dataset.card == tomllib.load(stream)


SHIPPED = {
    "densing": (112, 52, 165, 495, "2023-02-24", "2025-08-20"),
    "olmo-ladder": (147, 47, 240, 291, "2019-02-14", "2024-07-31"),
    "densing-published": (51, 24, None, None, "2023-02-24", "2025-04-05"),
    "densing-published-mmlu": (37, 22, None, None, "2020-05-28", "2024-09-25"),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_counts_of_shipped_datasets(name: str) -> None:
    summary = load_dataset(name).summary()
    first, last = SHIPPED[name][4:]
    assert summary["window"] == [first, last]
    counts = [summary[key] for key in ("n_llms", "n_families", "n_runs", "n_scores")]
    assert counts == list(SHIPPED[name][:4])


# ---- what a fit says of its dataset


def test_a_fit_counts_what_its_model_sees() -> None:
    dataset, spec = load_dataset("densing"), load_spec("joint")
    given = dataset.summary()
    for base_only in (True, False):
        counts = counts_of(observe(spec.with_options(base_only=base_only), dataset))
        assert set(counts) < set(given)
        assert ({**given, **counts} == given) == base_only
    everyone = (dataset.llms, dataset.scores, dataset.runs)
    assert [counts[f"n_{name}"] for name in ("llms", "scores", "runs")] == [*map(len, everyone)]
    assert counts["n_families"] == dataset.llms["family"].nunique()
    densities = load_dataset("densing-published")
    seen = counts_of(observe(load_spec("trend_only"), densities))
    assert densities.summary() == {**densities.summary(), **seen}


def test_a_fit_keeps_those_counts_and_logs_the_warnings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inference, "fit_observations", lambda *_, **given: given)
    dataset = load_dataset("olmo-ladder")
    given = inference.fit(load_spec("joint").with_options(base_only=False), dataset)
    about = given["about"]  # type: ignore[index]
    assert (about["n_llms"], about["n_scores"]) == (len(dataset.llms), len(dataset.scores))
    assert about["digest"] == dataset.digest
    assert dataset.warnings
    for text in dataset.warnings:
        assert f"olmo-ladder: {text}" in caplog.messages
