"""The shipped datasets: whole, as their scripts make them, with sizes that can be recomputed."""

import csv
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bayesdense.dataset import load_dataset

DATA = Path(__file__).resolve().parents[1] / "data"
NAMES = ("densing", "densing-published", "densing-published-mmlu", "olmo-ladder")
RAW = os.environ.get("BAYESDENSE_RAW_DATA")
#: The figure draws these two by their total, as the card says.
FIGURE_BY_TOTAL = {"DeepSeekMoE-16B", "DeepSeek-V2-Lite"}


def rows(*parts: str) -> list[dict[str, str]]:
    with DATA.joinpath(*parts).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def card(name: str) -> dict:
    return tomllib.loads((DATA / name / "card.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def architectures() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location(
        "architectures", DATA / "densing" / "architectures.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)  # the folder is shipped as it is
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("name", NAMES)
def test_card_states_source_licence_and_every_tables_digest(name):
    said = card(name)
    assert {"source", "licence", "attribution", "retrieved", "known_problems"} <= set(said)
    tables = {path.relative_to(DATA / name).as_posix() for path in (DATA / name).rglob("*.csv")}
    assert set(said["sha256"]) == tables
    for table, digest in said["sha256"].items():
        assert hashlib.sha256((DATA / name / table).read_bytes()).hexdigest() == digest, table


@pytest.mark.parametrize("name", NAMES)
def test_dataset_loads_and_all_its_columns_are_described(name):
    dataset = load_dataset(name)
    assert not [line for line in dataset.warnings if "columns" in line]
    assert not [line for line in dataset.warnings if "family" in line]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(RAW is None, reason="set BAYESDENSE_RAW_DATA to the folder of the raw data")
def test_make_gives_the_committed_tables(name, tmp_path):
    script = DATA / name / "make.py"
    command = [sys.executable, str(script), "--raw", str(RAW), "--out", str(tmp_path)]
    subprocess.run(command, check=True, timeout=60)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    by_hand = {"architectures.csv", "corrections.csv"}
    assert {path.as_posix() for path in made} >= set(card(name)["sha256"]) - by_hand
    for path in made:
        assert (tmp_path / path).read_bytes() == (DATA / name / path).read_bytes(), path


@pytest.mark.skipif(RAW is None, reason="set BAYESDENSE_RAW_DATA to the folder of the raw data")
def test_every_change_to_a_raw_size_or_date_is_told():
    told = " ".join(card("densing")["known_problems"])
    with (Path(str(RAW)) / "densing" / "llms.csv").open(encoding="utf-8", newline="") as stream:
        raw = {row["llm"]: row for row in csv.DictReader(stream)}
    for row in rows("densing", "llms.csv"):
        before = raw[row["llm"]]
        sizes = [name for name in ("n_params", "n_params_active", "n_tokens") if before[name]]
        changed = [name for name in sizes if int(row[name]) != round(float(before[name]))]
        if changed or row["release_date"] != before["release_date"]:
            assert re.search(rf"{re.escape(row['llm'])} [\d.e-]+ -> ", told), row["llm"]


def test_no_llm_is_dropped_and_every_base_llm_has_a_sourced_size():
    llms = rows("densing", "llms.csv")
    base = [row for row in llms if row["is_base"] == "true"]
    assert (len(llms), len(base)) == (116, 112)
    for row in llms:
        matrices = 1 if row["tied_embeddings"] == "true" else 2
        ends = matrices * int(row["vocab_size"]) * int(row["hidden_size"])
        exact, body = int(row["n_params_exact_total"]), int(row["n_params_non_embedding"])
        assert body == exact - ends > 0, row["llm"]
        assert len(row["n_params_non_embedding_source"].split("; ")) >= 3, row["llm"]
        off = abs(exact / int(row["n_params"]) - 1)
        assert off < (0.05 if row["llm"] == "Xmodel-2-1.2B" else 0.01), row["llm"]
        assert int(row["n_params_active"]) <= int(row["n_params"]), row["llm"]


def test_sizes_follow_from_the_architectures(architectures):
    llms = {row["llm"]: row for row in rows("densing", "llms.csv")}
    shapes = rows("densing", "architectures.csv")
    assert {row["llm"] for row in shapes} == set(llms)
    for row in shapes:
        body = architectures.non_embedding(row)
        assert body == int(llms[row["llm"]]["n_params_non_embedding"]), row["llm"]
        total = int(llms[row["llm"]]["n_params_exact_total"])
        assert body + architectures.embedding(row) == total, row["llm"]
        assert row["source"] and row["road"] in {"config", "card", "quoted", "memory"}
        assert bool(row["other_params_note"]) or row["other_params"] in {"", "0"}, row["llm"]


@pytest.mark.parametrize(
    ("run", "layers", "width", "inner", "heads", "kv_heads"),
    [
        ("0.005B", 8, 256, 640, 4, 1),
        ("0.03B", 12, 512, 1280, 8, 2),
        ("0.1B", 18, 768, 1920, 12, 3),
        ("0.2B", 24, 1024, 2560, 16, 2),
        ("0.4B", 30, 1280, 3200, 20, 2),
        ("0.8B", 36, 1536, 3840, 24, 3),
    ],
)
def test_the_ladder_counts_as_the_llms_do(
    architectures, run, layers, width, inner, heads, kv_heads
):
    """The paper's Table 1 gives shapes and counts: its counts leave out the embeddings."""
    shape = dict.fromkeys(rows("densing", "architectures.csv")[0], "") | {
        "layout": "transformer",
        "hidden_size": str(width),
        "n_layers": str(layers),
        "n_dense_layers": str(layers),
        "n_heads": str(heads),
        "n_kv_heads": str(kv_heads),
        "head_dim": "64",
        "ffn_size": str(inner),
        "ffn_matrices": "3",
        "norm_vectors": "1",
        "norms_per_layer": "2",
    }
    counts = {row["n_params"] for row in rows("densing", "runs.csv") if row["run"].startswith(run)}
    assert counts == {str(architectures.non_embedding(shape))}


def test_sizes_agree_with_what_others_count():
    llms = {row["llm"]: row for row in rows("densing", "llms.csv")}
    for row in llms.values():
        figure = row["n_params_non_embedding_figure"]
        if figure and row["llm"] not in FIGURE_BY_TOTAL:
            assert abs(int(figure) / int(row["n_params_non_embedding"]) - 1) < 0.02, row["llm"]
    stated = {"Baichuan-7B": 7_000_559_616, "Baichuan-13B": 13_264_901_120}
    assert {name: int(llms[name]["n_params_exact_total"]) for name in stated} == stated
    by_maker = {  # billions without embeddings: the Qwen2 and Qwen2.5 blogs, Gemma 3's report
        "Qwen2-57B-A14B": 56.32,
        "Qwen2-72B": 70.21,
        "Qwen2.5-0.5B": 0.36,
        "Qwen2.5-1.5B": 1.31,
        "Qwen2.5-3B": 2.77,
        "Qwen2.5-7B": 6.53,
        "Qwen2.5-14B": 13.1,
        "Qwen2.5-32B": 31.0,
        "Gemma-3-1B": 0.698,
        "Gemma-3-4B": 3.209,
        "Gemma-3-12B": 10.759,
        "Gemma-3-27B": 25.600,
    }
    for name, count in by_maker.items():
        assert int(llms[name]["n_params_non_embedding"]) == pytest.approx(count * 1e9, rel=0.01), (
            name
        )


def test_densing_has_the_papers_points_without_a_signed_zero():
    points = rows("densing", "loss_scores.csv")
    assert len(rows("densing", "runs.csv")) == 165
    assert [sum(row["role"] == role for row in points) for role in ("fit", "heldout")] == [50, 10]
    assert not [row for row in points if row["score"].startswith("-")]
    assert [row["benchmark"] for row in points if float(row["score"]) == 0] == ["HumanEval"]


def test_published_densities_are_those_of_the_two_figures():
    first, second = (
        rows("densing-published", "densities.csv"),
        rows("densing-published-mmlu", "densities.csv"),
    )
    assert (len(first), len(second)) == (51, 37)
    assert all(row["n_params"] for row in first)
    assert sum(row["n_params"] == "" for row in second) == 9


def test_olmo_ladder_keeps_eight_benchmarks_and_the_last_checkpoints():
    benchmarks = {row["benchmark"] for row in rows("olmo-ladder", "benchmarks.csv")}
    runs, points = rows("olmo-ladder", "runs.csv"), rows("olmo-ladder", "loss_scores.csv")
    assert len(benchmarks) == 8 and not benchmarks & {"WinoGrande", "BoolQ"}
    cells = {(row["run"], row["benchmark"]) for row in runs}
    assert len(runs) == len(cells) == 30 * 8 and all(float(row["loss_sd"]) > 0 for row in runs)
    assert sorted((row["run"], row["benchmark"]) for row in points) == sorted(cells)
    assert {row["run"].removesuffix("-rerun") for row in runs if "rerun" in row["run"]} <= {
        row["run"] for row in runs
    }
    scores, llms = rows("olmo-ladder", "scores.csv"), rows("olmo-ladder", "llms.csv")
    assert {row["benchmark"] for row in scores} == {"HellaSwag", "ARC-C"}
    assert {row["llm"] for row in scores} == {row["llm"] for row in llms}
    assert not {row["protocol"] for row in scores} & {row["protocol"] for row in points}
    assert card("olmo-ladder")["reference_params"] == "without input embedding"
