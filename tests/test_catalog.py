"""Names of shipped datasets and models, paths in their place, and cards against their schema."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from datasets import CARD, tiny_dataset

import bayesdense
from bayesdense.card import check_card, described_columns, read_card
from bayesdense.catalog import (
    dataset_names,
    dataset_path,
    model_names,
    model_path,
    resolve_dataset,
    shipped_root,
)
from bayesdense.dataset import load_dataset
from bayesdense.errors import DatasetError, SpecError

SCHEMA = Path(bayesdense.__file__).parent / "schemas" / "card.schema.json"


def test_shipped_names() -> None:
    assert {"densing", "densing-published", "densing-published-mmlu", "olmo-ladder"} <= set(
        dataset_names()
    )
    assert list(dataset_names()) == sorted(dataset_names())
    assert all(model_path(name).suffix == ".toml" for name in model_names())


def test_root_is_the_wheels_or_the_repositorys() -> None:
    assert (shipped_root() / "data").is_dir()
    assert dataset_path("densing") == shipped_root() / "data" / "densing"


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(DatasetError, match="no shipped dataset: did you mean 'densing'"):
        dataset_path("densin")
    with pytest.raises(SpecError, match="jiont: no shipped model: "):
        model_path("jiont")
    with pytest.raises(DatasetError, match="did you mean 'olmo-ladder'") as caught:
        load_dataset("OLMo_ladder")
    assert caught.value.source == "OLMo_ladder"
    assert len(caught.value.problems) == 1
    with pytest.raises(DatasetError, match="no such folder and no shipped dataset: Shipped: "):
        load_dataset("zzzz")


def test_a_name_wins_over_a_folder_and_a_path_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_dataset(tmp_path, name="densing")
    monkeypatch.chdir(tmp_path)
    assert resolve_dataset("densing") == dataset_path("densing")
    assert resolve_dataset("./densing") == Path("densing")
    assert resolve_dataset(Path("densing")) == Path("densing")
    assert resolve_dataset(Path("olmo-ladder")) == dataset_path("olmo-ladder")
    assert load_dataset("./densing").name == "densing"


def test_the_working_directory_has_its_folders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_dataset(tmp_path))
    assert load_dataset(".").name == "tiny"


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"a file, allowed a folder .*did you mean its folder"):
        load_dataset(folder / "scores.csv")
    lonely = tmp_path / "scores.csv"
    lonely.write_text("llm", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"a file, allowed a folder with card\.toml and CSV"):
        load_dataset(lonely)


@pytest.mark.parametrize("name", ["", " ", "\x00", "x" * 5000, "\x1b[31mred", "a/" * 3000])
def test_hostile_names(name: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load_dataset(name)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_cards_and_names_need_neither_numpy_nor_pandas() -> None:
    code = (
        "import sys; from bayesdense import card, validation; from bayesdense.catalog import *\n"
        "[card.read_card(dataset_path(name)) for name in dataset_names()]; model_names()\n"
        "print({'numpy', 'pandas', 'pymc', 'xarray'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


CARDS: list[tuple[dict[str, object], bool]] = [
    ({"title": "x"}, True),
    ({"title": "x", "anything": [1, {"a": 2}]}, True),
    ({"title": "x", "source": "a"}, True),
    ({"title": "x", "source": ["a", "b"]}, True),
    ({"title": "x", "source": {"runs": "a"}}, True),
    ({"title": "x", "columns": {"runs": {"loss": "nats"}}}, True),
    ({"title": "x", "retrieved": datetime.date(2025, 1, 1)}, True),
    ({}, False),
    ({"title": ""}, False),
    ({"title": " \n"}, False),
    ({"title": 1}, False),
    ({"title": ["x"]}, False),
    ({"title": "x", "licence": 3}, False),
    ({"title": "x", "source": [1]}, False),
    ({"title": "x", "columns": "loss"}, False),
    ({"title": "x", "known_problems": {"a": "b"}}, False),
    ({"title": "x", "reference_params": ["total"]}, False),
    ({"title": "x", "sha256": "00"}, False),
]


def as_json(card: dict[str, object]) -> object:
    """Card as the schema sees it: a TOML date is a string."""
    return json.loads(json.dumps(card, default=str))


@pytest.mark.parametrize(("card", "valid"), CARDS)
def test_own_check_agrees_with_the_schema(card: dict[str, object], valid: bool) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(as_json(card)) is valid
    assert (not list(check_card(card))) is valid


def test_schema_is_one_and_shipped_cards_keep_it() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for name in dataset_names():
        jsonschema.Draft202012Validator(schema).validate(as_json(read_card(dataset_path(name))[0]))


def test_described_columns() -> None:
    card: dict[str, object] = {"columns": {"loss": "nats", "llms": {"maker": "who"}}}
    assert described_columns(card) == {"loss", "llms", "maker"}
    assert described_columns({"title": CARD}) == frozenset()
