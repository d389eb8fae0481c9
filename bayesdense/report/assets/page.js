"use strict";

// Without scripts the page says the same: the table stands in the order of the data.

(function () {
  // ---- The table of LLMs: sorted by the buttons of its columns, filtered by words.
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const buttons = Array.from(table.querySelectorAll("thead button"));

  function compare(kind, a, b) {
    if (kind === "text") {
      return a.localeCompare(b, "en", { numeric: true });
    }
    return Number(a) - Number(b);
  }

  // What is not known stands last, whichever way the others go.
  function sort(column, kind, descending) {
    const value = (row) => row.cells[column].dataset.value;
    const known = rows.filter((row) => value(row) !== "");
    const unknown = rows.filter((row) => value(row) === "");
    known.sort((a, b) => compare(kind, value(a), value(b)) * (descending ? -1 : 1));
    body.replaceChildren(...known, ...unknown);
  }

  buttons.forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const descending = head.getAttribute("aria-sort") === "ascending";
      buttons.forEach((other) => other.closest("th").setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(column, button.dataset.kind, descending);
    });
  });

  const words = document.getElementById("filter");
  const bounds = document.getElementById("bounds");
  const count = document.getElementById("count");

  function filter() {
    const wanted = words.value.toLocaleLowerCase("en").split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row) => {
      const text = row.textContent.toLocaleLowerCase("en");
      const fits = wanted.every((word) => text.includes(word)) &&
        (!bounds.checked || "bound" in row.dataset);
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    count.textContent = shown + " of " + rows.length + " LLMs";
  }

  words.addEventListener("input", filter);
  bounds.addEventListener("change", filter);
  filter(); // a browser may keep what was typed before the page was loaded again

  // ---- Nothing stays hidden on paper.
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
  });

  // ---- The interactive figure, in the colours of the page's ground.
  const item = document.getElementById("item");
  if (item === null) {
    return;
  }
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const exchange = JSON.parse(document.getElementById("dark").textContent);
  const place = document.getElementById("interactive");
  let views = null;

  function coloured() {
    let text = item.textContent;
    if (dark.matches) {
      Object.entries(exchange).forEach(([light, other]) => { text = text.replaceAll(light, other); });
    }
    return JSON.parse(text);
  }

  async function draw() {
    const before = views;
    views = null;
    if (before !== null) {
      before.clear();
    }
    place.replaceChildren();
    views = await Bokeh.embed.embed_item(coloured());
  }

  dark.addEventListener("change", draw);
  draw();
}());
