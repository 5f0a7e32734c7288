// Rows near a picture that is dropped, or near a sentence; each with the reason where a run can't.

import { ask, h, newest, problem, query } from "./dom.js";
import { openLightbox } from "./lightbox.js";
import { tile, walkable } from "./tiles.js";

const COUNT = 36;

export async function searchPage(main, run, asked, signal) {
  const found = h("div", { class: "found", "aria-live": "polite" }), can = run.search ?? {};
  const text = h("input", { type: "search", "aria-label": "What to look for", placeholder: "a red car at night", value: asked.get("text") || "", disabled: !can.text });
  const file = h("input", { type: "file", accept: "image/*", id: "file", disabled: !can.column, onchange: () => file.files[0] && byPicture(file.files[0]) });
  const preview = h("div", { class: "preview" });
  const drop = h("div", { class: "drop" }, h("label", { for: "file" }, "Drop a picture here, or choose one"), file, preview);

  function show(rows) {
    const numbers = rows.map((row) => row._row);
    found.replaceChildren(h("h2", {}, `${rows.length} nearest rows`), walkable(h("div", { class: "grid" }, rows.map((row, at) => tile(run, row, run.pictures[0], row.cosine.toFixed(3),
      () => openLightbox(run, numbers, at, (last) => found.querySelector(`[data-row="${last}"]`)?.focus()))))));
    document.body.dataset.found = numbers.join(" ");
  }

  const begin = newest(signal);

  async function look(work) {
    const mine = begin();
    found.replaceChildren(h("p", { class: "note" }, "looking; the first time, the network is loaded\u2026"));
    try { show((await work(mine)).rows); } catch (error) { if (!mine.aborted) found.replaceChildren(problem(error)); }
  }

  function byPicture(given) {
    const shown = h("img", { alt: "what is looked for", src: URL.createObjectURL(given) });
    shown.addEventListener("load", () => URL.revokeObjectURL(shown.src));
    preview.replaceChildren(shown);
    return look((mine) => ask(`/api/runs/${run.run}/search?count=${COUNT}`, { method: "POST", body: given, signal: mine }));
  }

  const over = (event) => { event.preventDefault(); drop.classList.add("over"); };
  drop.addEventListener("dragover", over);
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0] && can.column) byPicture(event.dataTransfer.files[0]);
  });
  main.replaceChildren(h("h1", {}, "Search"), can.why_not ? h("p", { class: "problem" }, can.why_not) : "",
    h("form", { class: "search", role: "search", onsubmit: (event) => {
      event.preventDefault();
      look((mine) => ask(`/api/runs/${run.run}/search?${query({ text: text.value, count: COUNT })}`, { signal: mine }));
    } }, text, h("button", { type: "submit", disabled: !can.text }, "Search")),
    !can.why_not && can.why_no_text ? h("p", { class: "note" }, `By words: ${can.why_no_text}.`) : "", drop, found);
}
