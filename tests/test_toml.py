"""TOML that is written: every card that can be read can be written and is the same."""

import tomllib
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from datasets import CARD, tiny_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdense.dataset import load_dataset
from bayesdense.simulate import write_dataset
from bayesdense.simulate.toml import toml_text

# What TOML can say: no lone surrogates, integers of 64 bits, no time with an offset.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
SCALARS = st.one_of(
    TEXTS,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(timezones=OFFSETS),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_everything_that_toml_can_say_reads_back(content):
    assert tomllib.loads(toml_text(content)) == content


@pytest.mark.parametrize(
    "value",
    [
        date(2024, 2, 29),
        datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        time(7, 30, 0, 125),
        [{"a": 1}, {"b": [{"c": 2.5}]}],
        "x\"y\\\n\x7f\x00 é\r\n'''",
        -0.0,
        float("inf"),
    ],
)
def test_dates_and_lists_of_tables_read_back(value):
    (found,) = tomllib.loads(toml_text({"t": {"k": value}}))["t"].values()
    assert found == value and type(found) is type(value)


def test_a_card_with_a_date_and_a_list_of_sources_survives_a_copy(tmp_path):
    card = f"{CARD}retrieved = 2025-11-10\n[[makers]]\nname = 'a'\n[[makers]]\nname = 'b'\n"
    dataset = load_dataset(tiny_dataset(tmp_path / "tiny", card=card))
    copy = load_dataset(write_dataset(dataset, tmp_path / "copy"))
    assert copy.card["retrieved"] == date(2025, 11, 10)
    assert copy.card["makers"] == [{"name": "a"}, {"name": "b"}]
    assert copy.digest == dataset.digest
