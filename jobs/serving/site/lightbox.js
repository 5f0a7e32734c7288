// One row in full: its input beside what was made of it, every column, its neighbours; left, right and Escape.

import { addressOf } from "./app.js";
import { ask, count, h, problem, say, shortName, worded } from "./dom.js";
import { picture, pictureOf, tile, walkable } from "./tiles.js";

export const WINDOWS = ["soft-tissue", "lung", "bone", "brain", "wide"];

/** Opens on `rows[at]`, numbers of rows of a run; `left` is called with the last one when it is closed. */
export function openLightbox(run, rows, at, left = () => {}) {
  const box = document.getElementById("lightbox");
  let leaving = new AbortController(), windowName = WINDOWS[0];

  async function show() {
    leaving.abort();
    leaving = new AbortController();
    const signal = leaving.signal, row = rows[at];
    const pictures = h("div", { class: "pictures" }), facts = h("div", { class: "facts" }), near = h("div", { class: "near" });
    const title = h("h2", { id: "lightbox-title" }, "\u2026");
    const go = (by, label, key) => h("button", { type: "button", "aria-keyshortcuts": key, disabled: !rows[at + by], onclick: () => move(by) }, label);
    const windows = run.hounsfield?.length ? h("label", { class: "window" }, "window ", h("select", { onchange: (event) => { windowName = event.target.value; fill(); } },
      WINDOWS.map((name) => h("option", { selected: name === windowName }, name)))) : null;
    const fill = () => pictures.replaceChildren(...(run.pictures.length ? run.pictures.map((which) => h("figure", {},
      picture(pictureOf(run, row, which, "large", run.hounsfield.includes(which) ? windowName : ""), `${which}`, "eager"), h("figcaption", {}, which))) : [h("p", { class: "none" }, "this run holds no pictures")]));
    box.replaceChildren(h("div", { class: "box-head" }, title, windows, h("span", { class: "at" }, `${count(at + 1)} of ${count(rows.length)}`),
      go(-1, "\u2190", "ArrowLeft"), go(1, "\u2192", "ArrowRight"), h("button", { type: "button", "aria-label": "Close", "aria-keyshortcuts": "Escape", onclick: () => box.close() }, "\u00d7")),
    h("div", { class: "box-body", tabindex: -1 }, pictures, facts, near));
    fill();
    box.querySelector(".box-body").focus();
    try {
      const found = await ask(`/api/runs/${run.run}/rows/${row}`, { signal });
      title.textContent = shortName(found.values.uri ?? found.values.id);
      title.replaceChildren(h("a", { href: addressOf(run.run, "grid", { id: found.values.id }), title: "A link to this row" }, title.textContent));
      say(title.textContent);
      facts.replaceChildren(h("table", {}, h("tbody", {}, Object.entries(found.values).filter(([name, value]) => value !== null || !name.includes(".")).map(([name, value]) =>
        h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, worded(value) + (found.units[name] && value !== null ? ` ${found.units[name]}` : "")))))));
      if (run.search?.column) near.replaceChildren(h("button", { type: "button", onclick: () => showNear(near, row, signal) }, "Show its neighbours"));
    } catch (error) {
      if (!signal.aborted) facts.replaceChildren(problem(error));
    }
  }

  async function showNear(near, row, signal) {
    near.replaceChildren(h("p", { class: "note" }, "looking\u2026"));
    try {
      const found = await ask(`/api/runs/${run.run}/rows/${row}/near?count=12`, { signal });
      const numbers = found.rows.map((each) => each._row);
      near.replaceChildren(h("h3", {}, "Neighbours, by the cosine of their vectors"), walkable(h("div", { class: "grid" }, found.rows.map((each, place) =>
        tile(run, each, run.pictures[0], each.cosine.toFixed(3), () => { rows = numbers; at = place; show(); })))));
      near.querySelector("button")?.focus();
    } catch (error) {
      if (!signal.aborted) near.replaceChildren(problem(error));
    }
  }

  function move(by) {
    if (!rows[at + by]) return;
    at += by;
    show();
  }

  box.onkeydown = (event) => {
    if (event.target.tagName === "SELECT" || event.target.closest(".grid")) return;
    if (event.key === "ArrowRight") move(1);
    else if (event.key === "ArrowLeft") move(-1);
    else return;
    event.preventDefault();
  };
  box.onclick = (event) => { if (event.target === box) box.close(); };
  box.onclose = () => { leaving.abort(); box.replaceChildren(); left(rows[at]); };
  if (!box.open) box.showModal();
  show();
}
