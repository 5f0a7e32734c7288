// Groups of equal and nearly equal pictures to go through: keep or drop each, by mouse or keys, and export the list of ids.
// The marks are kept in this browser; nothing is written to the run.

import { ask, count, download, h, problem, query, say, shortName } from "./dom.js";
import { openLightbox } from "./lightbox.js";
import { picture, pictureOf } from "./tiles.js";

const GROUPS = 20, KINDS = new Set(["duplicates", "leaks"]);

/** What was decided, by id: "keep" or "drop"; without a decision, the representative is kept and the others are dropped. */
class Marks {
  constructor(key) {
    this.key = `pixelmill ${key}`;
    try { this.held = new Map(Object.entries(JSON.parse(localStorage.getItem(this.key) || "{}"))); } catch { this.held = new Map(); }
  }

  of(id, isKept) { return this.held.get(id) ?? (isKept ? "keep" : "drop"); }

  set(id, mark) {
    this.held.set(id, mark);
    try { localStorage.setItem(this.key, JSON.stringify(Object.fromEntries(this.held))); } catch { /* full: it lasts as long as the page */ }
  }

  clear() { this.held.clear(); localStorage.removeItem(this.key); }
}

export async function duplicatesPage(main, run, asked, signal) {
  const results = (run.results ?? []).filter((each) => KINDS.has(each.kind));
  if (!results.length) {
    main.replaceChildren(h("h1", {}, "Duplicates"), h("p", {}, "Nothing was looked for in this run yet. These commands find them, and this page then shows them:"),
      h("pre", { class: "spec", tabindex: 0 }, `pixelmill duplicates ${run.uri}\npixelmill leaks TRAIN ${run.uri}`));
    return;
  }
  const name = results.some((each) => each.name === asked.get("name")) ? asked.get("name") : results[0].name;
  const marks = new Marks(`${run.uri} ${name}`), list = h("div", { class: "groups" }), told = h("p", { class: "note", role: "status" }), pages = h("nav", { class: "pages", "aria-label": "Pages of groups" });
  const kind = results.find((each) => each.name === name).kind;
  let offset = 0;

  const others = new Map();
  const runOf = async (number) => {
    if (number === run.run) return run;
    if (!others.has(number)) others.set(number, ask(`/api/runs/${number}`, { signal }));
    return others.get(number);
  };

  async function member(row) {
    const isOurs = row.run === run.run, shown = row.run !== null && row._row >= 0 ? await runOf(row.run) : null;
    const label = shortName(row.uri);
    const frame = h("span", { class: "frame" }, shown?.pictures.length ? picture(pictureOf(shown, row._row, shown.pictures[0]), label) : h("span", { class: "none" }, row.run === null ? "its run is not served here" : "no picture"));
    const words = row.is_representative ? (isOurs ? "kept for its group" : "the original") : `${row.tier} ${row.nearness.toFixed(3)}`;
    if (!isOurs) return h("div", { class: "member fixed" }, frame, h("span", { class: "caption", title: row.uri }, label), h("span", { class: "soft" }, words));
    const button = h("button", { type: "button", class: "member", "data-id": row.id, title: row.uri, "aria-keyshortcuts": "K D Enter", onclick: () => mark(row, marks.of(row.id, row.is_representative) === "keep" ? "drop" : "keep", button) },
      frame, h("span", { class: "caption" }, label), h("span", { class: "soft" }, words), h("span", { class: "verdict" }));
    button.addEventListener("keydown", (event) => onKey(event, row, button));
    paint(button, row);
    return button;
  }

  function paint(button, row) {
    const mark_ = marks.of(row.id, row.is_representative);
    button.dataset.mark = mark_;
    button.setAttribute("aria-pressed", String(mark_ === "keep"));
    button.querySelector(".verdict").textContent = mark_;
  }

  function mark(row, value, button) {
    marks.set(row.id, value);
    paint(button, row);
    say(`${shortName(row.uri)}: ${value}`);
  }

  function onKey(event, row, button) {
    const all = [...list.querySelectorAll("button.member")], at = all.indexOf(button), key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === "k" || key === "d") { mark(row, key === "k" ? "keep" : "drop", button); all[at + 1]?.focus(); }
    else if (key === "o") openLightbox(run, [row._row], 0, () => button.focus());
    else if (key === "arrowright") all[at + 1]?.focus();
    else if (key === "arrowleft") all[at - 1]?.focus();
    else if (key === "arrowdown" || key === "arrowup") nextGroup(button, key === "arrowdown" ? 1 : -1);
    else return;
    event.preventDefault();
  }

  function nextGroup(button, by) {
    const groups = [...list.querySelectorAll("section")];
    groups[groups.indexOf(button.closest("section")) + by]?.querySelector("button.member")?.focus();
  }

  async function load(focus) {
    try {
      const found = await ask(`/api/runs/${run.run}/groups?${query({ name, offset })}`, { signal });
      const made = await Promise.all(found.groups.map(async (group, at) => h("section", { class: "group", "aria-label": `Group ${offset + at + 1}` }, h("h2", {}, `${count(offset + at + 1)}`),
        h("div", { class: "members" }, await Promise.all(group.rows.map(member)), group.more ? h("span", { class: "soft" }, `and ${count(group.more)} more`) : ""))));
      list.replaceChildren(...made);
      told.textContent = found.total ? `${count(found.total)} groups${found.is_stale ? ", of an earlier state of the run: make them again" : ""}` : "no picture repeats another one";
      const turn = (by, label, can) => h("button", { type: "button", disabled: !can, onclick: () => { offset = Math.max(0, offset + by); load(true); } }, label);
      pages.replaceChildren(turn(-GROUPS, "\u2190 Previous", offset > 0), turn(GROUPS, "Next \u2192", offset + GROUPS < found.total));
      if (focus) list.querySelector("button.member")?.focus();
    } catch (error) { if (!signal.aborted) list.replaceChildren(problem(error)); }
  }

  async function save(wanted) {
    const { ids } = await ask(`/api/runs/${run.run}/groups/ids?${query({ name })}`, { signal });
    const chosen = ids.filter(([id, , isKept]) => marks.of(id, isKept) === wanted);
    download(`${run.name}-${kind}-${wanted}.csv`, ["id,uri", ...chosen.map(([id, uri]) => `${id},"${String(uri).replaceAll('"', '""')}"`)].join("\n") + "\n", "text/csv");
    say(`${count(chosen.length)} rows to ${wanted}`);
  }

  const choice = results.length > 1 && h("label", {}, "Result ", h("select", { onchange: (event) => { location.hash = `#/${run.run}/duplicates?${query({ name: event.target.value })}`; } }, results.map((each) => h("option", { selected: each.name === name }, each.name))));
  main.replaceChildren(h("h1", {}, kind === "leaks" ? "Leaks" : "Duplicates"),
    h("p", { class: "note" }, "K keeps a picture, D drops it, the arrows move, O opens it. Without a mark, the first of each group is kept. The marks stay in this browser, and nothing is written to the run."),
    h("div", { class: "controls" }, choice || "", h("button", { type: "button", onclick: () => save("drop") }, "Download what to drop"), h("button", { type: "button", onclick: () => save("keep") }, "Download what to keep"),
      h("button", { type: "button", onclick: () => { marks.clear(); load(false); } }, "Forget the marks")), told, list, pages);
  await load(false);
}
