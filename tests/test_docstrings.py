"""Docstrings of the public API say what numpydoc asks for, and the examples in them run."""

import doctest
import importlib
import inspect
import re

import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate

import bayesdense

PUBLIC = sorted(set(bayesdense.__all__) - {"__version__"})
CLASSES = [name for name in PUBLIC if inspect.isclass(getattr(bayesdense, name))]
METHODS = [
    f"{name}.{method}"
    for name in CLASSES
    for method, value in vars(getattr(bayesdense, name)).items()
    if not method.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))
]
# What is not asked of anything.
LEFT_OUT = {
    "PR04": "types stand in the annotations, which mypy checks and the reference shows",
    "SA01": "pages group what belongs together",
    "ES01": "where the summary says all, more is repetition",
    "EX01": "an example that takes a fit says no more than the how-to pages, whose blocks run",
}
# Nor of methods and properties, which are one-liners.
LEFT_OUT_OF_METHODS = {
    "PR01": "names of few parameters, explained in the summary",
    "RT01": "the summary says what is returned",
    "SS05": "reads plural nouns (days, years) as verbs",
}


def findings(name: str) -> dict[str, str]:
    """What numpydoc finds, but for what is not asked of anything."""
    found = validate(f"bayesdense.{name}")["errors"]
    return {code: text for code, text in found if code not in LEFT_OUT}


def attributes(name: str) -> set[str]:
    """Names in the section `Attributes` of a class: fields of a value, which it is made of."""
    rows = ClassDoc(getattr(bayesdense, name), config={"show_class_members": False})["Attributes"]
    return {word for row in rows for word in row.name.split(", ")}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_docstrings_are_whole(name: str) -> None:
    found = findings(name)
    if name in CLASSES:
        assert set(re.findall(r"'(\w+)'", found.pop("PR01", ""))) <= attributes(name)
    assert found == {}


@pytest.mark.parametrize("name", METHODS)
def test_methods_say_what_they_do(name: str) -> None:
    assert findings(name).keys() - LEFT_OUT_OF_METHODS.keys() == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_run(name: str) -> None:
    item = getattr(bayesdense, name)
    names = {**vars(importlib.import_module(item.__module__)), "bd": bayesdense}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder().find(item, name, globs=names):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
