"""The report says what the fit says, whole and in order, and nothing in the data can act in it."""

import base64
import hashlib
import json
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from fake_fit import fake_checks, fake_fit
from program import hold, invoke

import bayesdense as bd
from bayesdense.commands import other_fit, same_fit
from bayesdense.dataset import load_dataset
from bayesdense.errors import DatasetError, FitFolderError, ReportError
from bayesdense.kinds import KINDS
from bayesdense.names import PLOT_KINDS
from bayesdense.report import report_html, write_report
from bayesdense.report.barg import SIGNS, checklist
from bayesdense.report.formulas import mathml, prior_rows, terms
from bayesdense.report.images import DARK, Absent, Image, image_of
from bayesdense.report.page import ASSETS
from bayesdense.report.security import data_block, policy, script
from bayesdense.report.sensitivity import leaning, questions
from bayesdense.results import Fit, add_file, load_fit
from bayesdense.spec import load_spec
from bayesdense.summary import summarize

EVIL = "<script>alert(1)</script>"
NAMES = (
    EVIL, '"><img src=x onerror=alert(2)>', "</script><b>", "a\u202eb\x1b[31m", "{{ 7*7 }}",
    "$$x$$",
)  # fmt: skip
#: Parts of the page in the order in which they are to be read.
PARTS = [
    "checks", "answer", "llms", "change", "model", "diagnostics", "predictive", "point", "barg",
    "data", "provenance",
]  # fmt: skip


class Page(HTMLParser):
    """What a browser would see of a page: elements, ids, addresses, scripts, text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.open: list[str] = []
        self.text = ""
        self._script: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "script":
            self._script = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            kind = [attrs for name, attrs in self.elements if name == "script"][-1].get("type")
            self.scripts.append((kind, self._script or ""))
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self._script += data
        elif self.open[-1:] != ["style"]:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def fit() -> Fit:
    made = fake_fit(llms=[*NAMES, "plain-7B", "plain-9B"])
    about = made.dataset_info | {
        "card": {"title": EVIL, "source": {EVIL: EVIL}, "licence": EVIL, "known_problems": [EVIL]},
        "excluded": [EVIL],
    }
    made.tree.attrs["dataset"] = json.dumps(about)
    made.tree.attrs["dataset_warnings"] = json.dumps([EVIL])
    made.tree.attrs["command_line"] = f"bayesdense fit '{EVIL}'"
    return made


@pytest.fixture(scope="module")
def html(fit: Fit) -> str:
    checks = fake_checks("review")
    checks.content["items"][0]["advice"] = EVIL  # type: ignore[index]
    return report_html(fit, summary=summarize(fit, checks))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


# --- What the page holds ---------------------------------------------------------------------


def test_parts_come_in_their_order(page: Page) -> None:
    assert [attrs["id"] for attrs in page.of("section")] == PARTS
    links = [attrs["href"] for attrs in page.of("a")]
    contents = links[1 : 1 + len(PARTS)]  # behind the one that skips them
    assert contents == [f"#{part}" for part in PARTS]


def test_the_answer_is_the_summarys(fit: Fit, page: Page) -> None:
    statement = summarize(fit, fake_checks())["doubling_time_days"]["statement"]
    assert statement in page.text


def test_every_llm_has_a_row(fit: Fit, page: Page) -> None:
    heads = [attrs for attrs in page.of("th") if attrs.get("scope") == "row"]
    assert sum("data-value" in attrs for attrs in heads) == len(NAMES) + 2
    marked = [attrs["data-bound"] for attrs in page.of("tr") if "data-bound" in attrs]
    assert sorted(map(str, marked)) == ["lower", "lower", "upper"]


def test_every_figure_is_described(page: Page) -> None:
    images = page.of("img")
    assert len(images) == len(PLOT_KINDS)
    for attrs in images:
        assert len(attrs["alt"] or "") > 30
        assert (attrs["src"] or "").startswith("data:image/")


def test_headings_form_an_outline(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.of("html")[0]["lang"] == "en"
    assert page.of("main")


def test_labels_lead_to_what_is_there(page: Page) -> None:
    ids = {attrs["id"] for _, attrs in page.elements if attrs.get("id")}
    assert len(ids) == sum(1 for _, attrs in page.elements if attrs.get("id"))
    for _, attrs in page.elements:
        for name in ("for", "aria-labelledby"):
            assert set((attrs.get(name) or "").split()) <= ids
        if (attrs.get("href") or "").startswith("#"):
            assert (attrs["href"] or "")[1:] in ids


@pytest.mark.parametrize(
    "make",
    [
        lambda: fake_fit(densities_only=True),
        lambda: fake_fit(trend="flat"),
        lambda: fake_fit(growth=0.0, residual="composed"),
        lambda: fake_fit(options={"feedback": "cut"}),
        lambda: fake_fit(options={"calibration": "fit"}, llms=["alone"], lower_bounds=1),
        lambda: fake_fit(chains=1, draws=6),
    ],
    ids=["densities", "flat", "composed", "cut", "one LLM", "six draws"],
)
def test_every_kind_of_fit_has_a_report(make: Callable[[], Fit]) -> None:
    text = Page(report_html(make())).text
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b|Undefined", text)


def test_a_fit_without_an_answer_has_a_report() -> None:
    draws = np.full((2, 50), 1.9)
    draws[0, 3] = np.nan
    text = Page(report_html(fake_fit(growth_draws=draws, chains=2, draws=50))).text
    assert re.search(r"No answer: \d+ of", text)
    assert re.search(r"No figure of .*: \d+ draws are not finite", text)


def test_a_report_of_many_llms_is_small_enough() -> None:
    made = fake_fit(llms=[f"A-language-model-{k}B" for k in range(500)], draws=50)
    assert len(report_html(made).encode()) < 6_000_000


# --- Nothing in the data acts, nothing is fetched --------------------------------------------


def test_names_are_text(html: str, page: Page) -> None:
    assert "<script>alert" not in html
    assert page.text.count("alert(1)") >= 8  # LLM, check, card, warning, command, left out
    assert "{{ 7*7 }}" in page.text
    assert [kind for kind, _ in page.scripts] == [
        "application/json",
        "application/json",
        None,
        None,
    ]
    assert not [attrs for attrs in page.of("img") if attrs.get("onerror")]
    assert not page.of("b")
    assert "\u202e" not in html
    assert "\x1b" not in html


def test_scripts_are_those_of_the_policy(page: Page) -> None:
    allowed = next(
        attrs["content"] or ""
        for attrs in page.of("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    run = [text for kind, text in page.scripts if kind is None]
    assert len(run) == 2
    hashes = {
        "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in run
    }
    assert set(re.findall(r"'(sha256-[^']+)'", allowed)) == hashes
    assert "default-src 'none'" in allowed
    for word in ("http:", "https:", "*", "'self'", "unsafe-eval"):
        assert word not in allowed
    assert "'unsafe-inline'" not in allowed.split("style-src")[0]


def test_nothing_is_addressed_outside_the_page(page: Page) -> None:
    for tag, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            address = attrs.get(name)
            assert address is None or address.startswith(("data:", "#")), (tag, address)
        assert not [name for name in attrs if name.startswith("on")], tag
    assert not page.of("link")
    assert not page.of("iframe")


def test_the_policy_comes_before_anything_that_it_governs(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    where = next(
        k for k, (_, attrs) in enumerate(page.elements) if attrs.get("http-equiv") is not None
    )
    assert where < min(tags.index("style"), tags.index("script"), tags.index("img"))


@pytest.mark.parametrize("text", ["</script>", "a</SCRIPT >", "<!-- -->", "a\r\nb"])
def test_a_script_that_would_escape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="stay within"):
        script(text)


def test_data_cannot_end_its_block() -> None:
    block = data_block({"name": "</script><script>alert(1)</script>&"})
    assert "<" not in block
    assert json.loads(block)["name"] == "</script><script>alert(1)</script>&"
    assert policy([]).count("script-src 'none'") == 1


# --- Figures in the page ---------------------------------------------------------------------


def test_svgs_are_whole_and_follow_the_ground(fit: Fit) -> None:
    image = image_of(fit, "trend")
    assert isinstance(image, Image)
    assert image.is_vector
    svg = unquote(str(image.uri).removeprefix("data:image/svg+xml,"))
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "scale(0.015625)" in svg  # of glyphs, which shorter numbers would distort
    assert not re.search(r"[1-9]\.\d{3,}", svg)
    for light, dark in DARK.items():
        assert f"fill: {light}" in svg.split("</style>")[0]
        assert dark in svg.split("</style>")[0]
    assert set('<>"&') & set(str(image.uri)) == set()


def test_a_figure_that_a_fit_has_not_says_why() -> None:
    absent = image_of(fake_fit(densities_only=True), "sizes")
    assert isinstance(absent, Absent)
    assert "densities only" in absent.reason


def test_a_failing_figure_fails_the_report_with_its_name(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no reason")

    monkeypatch.setattr("bayesdense.plots.sizes.draw_sizes", fail)
    with pytest.raises(ReportError, match="figure 'sizes' could not be drawn: ZeroDivisionError"):
        report_html(fit)


def test_a_failing_interactive_figure_is_named(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesdense.report.interactive.json_item", lambda *_, **__: 1 / 0)
    with pytest.raises(ReportError, match="figure 'interactive' could not be drawn"):
        report_html(fit)


# --- Model, guidelines, commands -------------------------------------------------------------


@pytest.mark.parametrize(
    "component", ["loss_law", "loss_noise", "score_map", "score_noise", "residual"]
)
def test_every_kind_has_its_formula(component: str) -> None:
    for kind in KINDS[component]:
        made = fake_fit(options={component: kind})
        if component == "loss_noise" and kind == "independent":
            made.tree["posterior"] = made.posterior.drop_vars(["run_effect_sd", "size_effect_sd"])
        for term in terms(made):
            assert term.formulas, (component, kind, term.title)
            assert term.words.endswith(".")


def test_formulas_are_mathml(fit: Fit) -> None:
    for term in terms(fit):
        for formula in term.formulas:
            assert ET.fromstring(str(formula)).tag.endswith("math")
    assert "<merror" not in mathml(r"\eta(t) = \eta_0 + g t")


def test_priors_are_all_there(fit: Fit) -> None:
    rows = {row.variable.split(" ")[0]: row for row in prior_rows(fit)}
    assert rows["growth_rate"].distribution == "Normal(mu=0, sigma=2)"
    assert rows["param_exponent"].distribution.startswith("LogNormal(mu=param_exponent_mean")
    assert rows["param_exponent_mean"].reason
    assert "cell_sd" not in rows  # has a prior in the file, and is no parameter of this fit


def test_the_guidelines_are_filled_in_from_the_fit(fit: Fit) -> None:
    summary = summarize(fit, fake_checks(max_rhat=1.0042))
    items = {item.step: item for item in checklist(fit, summary, has_point=False)}
    assert {step[0] for step in items} == set("0123456")
    assert {item.status for item in items.values()} <= set(SIGNS)
    assert "1.0042" in items["2.B"].found
    assert items["5.F"].status == "not done"
    assert checklist(fit, summary, has_point=True)[-5].status == "reported"
    without = Fit(fit.tree.copy(), fit.spec)
    del without.tree["prior_predictive"], without.tree["log_prior"]
    bare = {item.step: item for item in checklist(without, summary, has_point=False)}
    assert bare["1.E"].status == "not done"
    assert bare["5.A-C"].status == "not done"


@pytest.mark.parametrize(
    "options",
    [{}, {"feedback": "cut", "reference_tokens": 1e12}, {"family": "none", "trend": "flat"}],
)
def test_the_command_makes_the_same_model(options: dict[str, object]) -> None:
    made = fake_fit(options=options)
    words = shlex.split(same_fit(made))
    overrides = [word for before, word in pairwise(words) if before == "--set"]
    spec = load_spec(words[words.index("--model") + 1]).with_overrides(overrides)
    assert spec.digest == made.spec.digest
    assert words[words.index("--seed") + 1] == str(made.seed)


def test_other_fits_differ_in_what_they_say(fit: Fit) -> None:
    asked = questions(fit)
    assert len({question.command for question in asked}) == len(asked) > 5
    words = shlex.split(other_fit(fit, "residual", "student_t"))
    overrides = [word for before, word in pairwise(words) if before == "--set"]
    spec = load_spec("joint").with_overrides(overrides)
    assert spec.digest == fit.spec.with_options(residual="student_t").digest
    flat = fake_fit(trend="flat")
    assert "No growth at all" not in {question.title for question in questions(flat)}


def test_the_page_says_what_growth_leans_on(marginal_fit: Fit) -> None:
    found = leaning(marginal_fit)
    assert found.verdict.startswith("Growth leans on ")
    assert bool(found.command) != found.verdict.startswith("Growth leans on no prior")
    assert [about for about, *_ in found.parts][-1] == "scores of LLMs"
    assert {many: len(rows) for many, rows in found.left_out.items()} == {"LLMs": 5, "families": 5}
    text = Page(report_html(marginal_fit)).text
    for about, sensitivity, _, largest in found.parts:
        assert about in text and sensitivity in text and largest in text


def test_the_page_says_why_it_does_not_know_what_growth_leans_on() -> None:
    assert "a cut fit has no one posterior" in leaning(fake_fit(options={"feedback": "cut"})).absent
    assert "growth does not vary" in Page(report_html(fake_fit(trend="flat"))).text


def test_the_point_pipeline_stands_beside_its_own_dataset(fit: Fit) -> None:
    made = fake_fit(densities_only=True)
    known = load_dataset("densing-published")
    about = made.dataset_info | {"name": known.name, "digest": known.digest}
    made.tree.attrs["dataset"] = json.dumps(about)
    text = Page(report_html(made)).text
    assert "9 running records" in text
    assert "Running records rise even where nothing improves" in text
    with pytest.raises(DatasetError, match="give the dataset that was fitted"):
        report_html(fit, dataset=known)


# --- Files and verbs -------------------------------------------------------------------------


@pytest.fixture
def folder(fit: Fit, tmp_path: Path) -> Path:
    return fit.save(tmp_path / "fit")


def test_a_file_can_be_added_to_a_fit(folder: Path) -> None:
    add_file(folder, "report.html", b"<p>one</p>")
    add_file(folder, "report.html", b"<p>two</p>")
    load_fit(folder)
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert listed["report.html"]["size"] == len(b"<p>two</p>")


def test_a_fit_is_whole_while_its_report_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_file(folder, "report.html", b"<p>one</p>")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bayesdense.replacement.write_manifest", fail)
    with pytest.raises(FitFolderError, match="No space left"):
        add_file(folder, "report.html", b"<p>two</p>")
    load_fit(folder)


def test_a_file_of_somebody_else_is_not_touched(folder: Path) -> None:
    (folder / "report.html").write_text("mine", encoding="utf-8")
    with pytest.raises(FitFolderError, match="none of the fit's files"):
        add_file(folder, "report.html", b"<p>one</p>")
    assert (folder / "report.html").read_text(encoding="utf-8") == "mine"


def test_write_report_writes_one_file(fit: Fit, tmp_path: Path) -> None:
    path = bd.write_report(fit, tmp_path / "here.html")
    assert path.read_bytes().startswith(b"<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["here.html"]
    with pytest.raises(ReportError, match="cannot be written"):
        write_report(fit, tmp_path / "nowhere" / "here.html")


def test_the_verb_writes_into_the_fit(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = invoke(monkeypatch, capsys, "report", folder, "--format", "json")
    assert status == 0, err
    payload = json.loads(out)
    hold(payload, "report")
    assert Path(payload["file"]) == folder / "report.html"
    assert payload["bytes"] == (folder / "report.html").stat().st_size
    load_fit(folder)
    other = tmp_path / "deep" / "other.html"
    status, out, err = invoke(monkeypatch, capsys, "report", folder, "--out", other)
    assert status == 0, err
    assert other.exists()
    assert "Written to" in out


@pytest.fixture
def of_densing() -> Fit:
    """A fit that says that it is of `densing`."""
    made, known = fake_fit(), load_dataset("densing")
    about = made.dataset_info | {"name": known.name, "digest": known.digest}
    made.tree.attrs["dataset"] = json.dumps(about)
    return made


def test_a_report_that_fails_leaves_the_fit_whole(
    of_densing: Fit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bayesdense.inference.fit", lambda *_, **__: of_densing)
    monkeypatch.setattr("bayesdense.plots.sizes.draw_sizes", lambda *_: 1 / 0)
    words = ("fit", "densing", "--out", tmp_path / "made", "--quiet")
    status, out, err = invoke(monkeypatch, capsys, *words)
    assert status == 1
    assert "figure 'sizes' could not be drawn" in err
    assert "doubles every" in out
    assert {file.name for file in (tmp_path / "made").iterdir()} == {
        "fit.nc", "summary.json", "manifest.json",
    }  # fmt: skip
    load_fit(tmp_path / "made")
    assert not (tmp_path / "made" / "report.html").exists()
    status, out, err = invoke(monkeypatch, capsys, "report", tmp_path / "made")
    assert status == 1
    assert "figure 'sizes'" in err


def test_fit_makes_no_report_where_none_is_wanted(
    of_densing: Fit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bayesdense.inference.fit", lambda *_, **__: of_densing)
    for words, expected in ((("--no-report",), False), ((), True)):
        folder = tmp_path / str(expected)
        status, _, err = invoke(monkeypatch, capsys, "fit", "densing", "--out", folder, *words)
        assert status in (0, 1), err
        assert (folder / "report.html").exists() is expected
        assert ("making the report" in err) is expected
        assert load_fit(folder).command_line == shlex.join(
            ["bayesdense", "fit", "densing", "--out", str(folder), *words]
        )


def test_assets_ship_with_the_package() -> None:
    assert {path.name for path in ASSETS.iterdir()} == {"page.js", "report.html.j2", "style.css"}
