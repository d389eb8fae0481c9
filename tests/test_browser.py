"""The report in a real browser: it opens from disk, asks nobody for anything, and can be worked."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_fit import fake_fit

from bayesdense.report import write_report
from bayesdense.results import Fit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = "<script>alert(1)</script>"
NAMES = ("Zeta-7B", "alpha-70B", EVIL, "$$\\href{javascript:alert(2)}{x}$$", "Beta-9B", "Eta-2B")
WIDE, NARROW = 1280, 390


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Debian's chromium; where there is none a test is skipped, but not where CI=true."""
    if CHROMIUM is None:
        message = "no chromium on the PATH (on Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # in a container the sandbox of the browser needs rights that tests do not have
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fake_fit(llms=NAMES)


@pytest.fixture(scope="module")
def report(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(fit, tmp_path_factory.mktemp("browser") / "report.html")


class Visit:
    """A page that is open, and whatever it did that it should not."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.faults: list[str] = []
        page.on(
            "console", lambda m: self._note("console", m.text, unless=m.type in ("log", "info"))
        )
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self._dismiss(dialog))
        page.on("request", lambda r: self._note("request", r.url, unless=self._is_own(r.url)))

    def _note(self, what: str, text: str, *, unless: bool) -> None:
        if not unless:
            self.faults.append(f"{what}: {text[:200]}")

    def _dismiss(self, dialog: object) -> None:
        self.faults.append("dialog")
        dialog.dismiss()  # type: ignore[attr-defined]

    @staticmethod
    def _is_own(url: str) -> bool:
        return url.startswith("data:") or url.endswith("/report.html")


@pytest.fixture(params=[(WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark")])
def visit(request: pytest.FixtureRequest, browser: "Browser", report: Path) -> Iterator[Visit]:
    """The report at two widths, light and dark."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = Visit(context.new_page())
    opened.page.goto(report.as_uri())
    opened.page.wait_for_selector("#interactive canvas", state="attached")
    yield opened
    assert opened.faults == []
    context.close()


@pytest.fixture
def page(browser: "Browser", report: Path) -> Iterator["Page"]:
    """The report on a wide screen."""
    context = browser.new_context(viewport={"width": WIDE, "height": 900})
    opened = Visit(context.new_page())
    opened.page.goto(report.as_uri())
    opened.page.wait_for_selector("#interactive canvas", state="attached")
    yield opened.page
    assert opened.faults == []
    context.close()


def names(page: "Page") -> list[str]:
    """LLMs that the table shows, in order."""
    cells = page.locator("#table tbody tr:not([hidden]) th").all_inner_texts()
    return [cell.removeprefix("▲ ").removeprefix("▼ ") for cell in cells]


def test_it_opens_and_asks_nobody(visit: Visit) -> None:
    page = visit.page
    assert "fake" in page.title()
    page.mouse.wheel(0, 20_000)
    page.wait_for_timeout(200)
    broken = page.evaluate("[...document.images].filter(i => !i.naturalWidth).length")
    assert broken == 0


def test_it_is_no_wider_than_the_screen(visit: Visit) -> None:
    size = visit.page.viewport_size
    assert size is not None
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_text_stands_out_from_its_ground(visit: Visit) -> None:
    """WCAG 2 AA: a contrast of 4.5 for every text that is shown."""
    worst = visit.page.evaluate(
        """() => {
          const channel = (v) => v <= 10.31 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4;
          const luminance = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1])
            + 0.0722 * channel(c[2]);
          const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
          const ground = (element) => {
            for (let e = element; e !== null; e = e.parentElement) {
              const c = parse(getComputedStyle(e).backgroundColor);
              if (c.length === 3 || c[3] === 1) { return c; }
            }
            return [255, 255, 255];
          };
          let worst = [Infinity, ""];
          document.querySelectorAll("main *, header *").forEach((e) => {
            const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "");
            if (!own || e.closest("#interactive, svg, math") || e.offsetParent === null) { return; }
            const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(ground(e))];
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < worst[0]) { worst = [contrast, e.outerHTML.slice(0, 120)]; }
          });
          return worst;
        }"""
    )
    assert worst[0] >= 4.5, worst


def test_dark_is_dark(browser: "Browser", report: Path) -> None:
    light = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(report.as_uri())
        light[scheme] = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        # a figure follows: its corner is of the ground's colour
        light[f"{scheme} figure"] = page.evaluate(
            """async () => {
              const image = document.querySelector("#figure-growth_rate img");
              const canvas = document.createElement("canvas");
              canvas.width = canvas.height = 20;
              const pen = canvas.getContext("2d");
              pen.drawImage(image, 0, 0, image.width, image.height);
              return [...pen.getImageData(2, 2, 1, 1).data].slice(0, 3);
            }"""
        )
        context.close()
    assert min(light["light"]) > 240
    assert max(light["dark"]) < 40
    assert min(light["light figure"]) > 240
    assert max(light["dark figure"]) < 40


def test_columns_sort_both_ways(page: "Page") -> None:
    button = page.get_by_role("button", name="LLM", exact=True)
    button.click()
    up = names(page)
    assert [name for name in up if name[0].isalpha()] == [
        "alpha-70B",
        "Beta-9B",
        "Eta-2B",
        "Zeta-7B",
    ]
    head = page.locator("#table thead th").first
    assert head.get_attribute("aria-sort") == "ascending"
    button.click()
    assert names(page) == up[::-1]
    assert head.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("column", [3, 4, 5])
def test_numbers_sort_as_numbers(page: "Page", column: int) -> None:
    page.locator("#table thead button").nth(column).click()
    values = page.locator("#table tbody tr").evaluate_all(
        f"rows => rows.map(row => Number(row.cells[{column}].dataset.value))"
    )
    assert values == sorted(values)
    assert len(set(values)) == len(NAMES)


def test_columns_sort_by_keyboard(page: "Page") -> None:
    page.locator("#bounds").focus()
    page.keyboard.press("Tab")  # the region that scrolls
    page.keyboard.press("Tab")  # its first button
    page.keyboard.press("Enter")
    assert page.locator("#table thead th").first.get_attribute("aria-sort") == "ascending"


def test_words_filter(page: "Page") -> None:
    page.get_by_role("searchbox").fill("beta")
    assert names(page) == ["Beta-9B"]
    assert page.locator("#count").inner_text() == "1 of 6 LLMs"
    page.get_by_role("searchbox").fill("<script>")
    assert names(page) == [EVIL]
    page.get_by_role("searchbox").fill("")
    page.get_by_label("bounds only").check()
    assert len(names(page)) == 3  # two lower, one upper
    page.get_by_label("bounds only").uncheck()
    assert len(names(page)) == len(NAMES)


def test_the_mouse_tells_of_an_llm(page: "Page") -> None:
    page.locator("#interactive").scroll_into_view_if_needed()
    places = page.evaluate(
        """() => {
          const view = Bokeh.index.roots[0];
          const box = view.el.getBoundingClientRect();
          const dots = view.model.renderers.filter((r) => r.glyph.type === "Scatter");
          return dots.flatMap((r) => {
            const data = r.data_source.data;
            return Array.from(data.date, (date, k) => ({
              llm: data.llm[k],
              x: box.x + view.frame.x_scale.compute(date),
              y: box.y + view.frame.y_scale.compute(data.median[k]),
            }));
          });
        }"""
    )
    assert {place["llm"] for place in places} == set(NAMES)
    for place in places:
        page.mouse.move(place["x"] - 1, place["y"] - 1)
        page.mouse.move(place["x"], place["y"])
        tooltip = page.locator(".bk-Tooltip").filter(has_text=place["llm"]).first
        tooltip.wait_for()
        said = tooltip.evaluate("e => (e.shadowRoot ?? e).textContent")
        assert "effective size" in said
        assert place["llm"] in said


def test_a_page_without_scripts_says_the_same(browser: "Browser", report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert names(page) == list(NAMES)
    assert "doubles every" in page.locator("#answer").inner_text()
    context.close()


def test_on_paper_nothing_is_hidden(page: "Page") -> None:
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
    assert not page.locator("nav").is_visible()
    assert page.locator("#table tbody tr").last.is_visible()
    assert page.pdf().startswith(b"%PDF")
