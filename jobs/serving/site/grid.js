// The rows of a run as pictures: filtered, sorted, page by page.

import { addressOf } from "./app.js";
import { ask, count, h, newest, problem, query, say, worded } from "./dom.js";
import { filterBar } from "./filters.js";
import { openLightbox } from "./lightbox.js";
import { tile, walkable } from "./tiles.js";

const PAGE = 60;

function filtersIn(asked) {
  try {
    const found = JSON.parse(asked.get("filters") || "[]");
    return Array.isArray(found) ? found : [];
  } catch { return []; }
}

export async function gridPage(main, run, asked, signal) {
  const state = { filters: filtersIn(asked), sort: asked.get("sort") || "", falling: asked.get("falling") === "1", offset: Number(asked.get("offset")) || 0, which: asked.get("which") || run.pictures[0] || "" };
  const grid = walkable(h("div", { class: "grid", role: "group", "aria-label": "Rows" })), told = h("p", { class: "note", role: "status" }), pages = h("nav", { class: "pages", "aria-label": "Pages of rows" });
  const begin = newest(signal);
  let rows = [];

  const keep = () => history.replaceState(null, "", addressOf(run.run, "grid", { filters: state.filters.length ? JSON.stringify(state.filters) : "", sort: state.sort, falling: state.falling ? 1 : "", offset: state.offset || "", which: state.which === run.pictures[0] ? "" : state.which }));

  async function load(focus) {
    const mine = begin();
    grid.setAttribute("aria-busy", "true");
    try {
      const found = await ask(`/api/runs/${run.run}/rows?${query({ filters: JSON.stringify(state.filters), sort: state.sort, falling: state.falling ? 1 : "", offset: state.offset, limit: PAGE })}`, { signal: mine });
      rows = found.rows;
      grid.replaceChildren(...rows.map((row, at) => tile(run, row, state.which, state.sort ? worded(row[state.sort]) : "", () => open(at))));
      const last = Math.min(found.total, state.offset + rows.length);
      told.textContent = found.total ? `${count(state.offset + 1)} to ${count(last)} of ${count(found.total)} rows` : "no row passes; remove a filter";
      say(told.textContent);
      pages.replaceChildren(turn(-PAGE, "\u2190 Previous", state.offset > 0), turn(PAGE, "Next \u2192", last < found.total));
      if (focus) grid.querySelector("button")?.focus();
    } catch (error) {
      if (mine.aborted) return;
      grid.replaceChildren(problem(error));
    }
    grid.removeAttribute("aria-busy");
    document.body.dataset.rows = rows.map((row) => row._row).join(" ");
  }

  const turn = (by, label, can) => h("button", { type: "button", disabled: !can, onclick: () => change({ offset: Math.max(0, state.offset + by) }, true) }, label);
  const open = (at) => openLightbox(run, rows.map((row) => row._row), at, (row) => grid.querySelector(`[data-row="${row}"]`)?.focus());

  function change(values, focus = false) {
    Object.assign(state, values);
    keep();
    load(focus);
  }

  const sort = h("select", { "aria-label": "Sort by", onchange: (event) => change({ sort: event.target.value, offset: 0 }) },
    h("option", { value: "" }, "order of the run"), Object.keys(run.columns).map((name) => h("option", { selected: name === state.sort, value: name }, name)));
  const falling = h("button", { type: "button", "aria-pressed": String(state.falling), onclick: (event) => {
    event.currentTarget.setAttribute("aria-pressed", String(!state.falling));
    change({ falling: !state.falling, offset: 0 });
  } }, "Largest first");
  const which = run.pictures.length > 1 && h("select", { "aria-label": "Show", onchange: (event) => change({ which: event.target.value }) },
    run.pictures.map((name) => h("option", { selected: name === state.which }, name)));
  main.replaceChildren(h("h1", {}, "Grid"), filterBar(run, state.filters, (filters) => change({ filters, offset: 0 })),
    h("div", { class: "controls" }, h("label", {}, "Sort by ", sort), falling, which && h("label", {}, "Show ", which)), told, grid, pages);
  await load(false);
  if (asked.get("id")) await openById(asked.get("id"));

  /** A row by its id or uri, as in a link that somebody sent. */
  async function openById(id) {
    try {
      const { row } = await ask(`/api/runs/${run.run}/find?${query({ id })}`, { signal });
      openLightbox(run, [row], 0, () => grid.querySelector("button")?.focus());
    } catch (error) { if (!signal.aborted) told.before(problem(error)); }
  }
}
