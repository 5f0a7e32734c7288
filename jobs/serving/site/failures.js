// Inputs that failed: by reason, with their names and what to do, and a text to find them by.

import { addressOf } from "./app.js";
import { ask, count, download, h, newest, problem, query, say, wide } from "./dom.js";

const PAGE = 100;

export async function failuresPage(main, run, asked, signal) {
  const state = { stage: asked.get("stage") || "", error_type: asked.get("error_type") || "", text: asked.get("text") || "", offset: 0 };
  const reasons = h("ul", { class: "reasons", "aria-label": "Reasons" }), rows = h("tbody"), told = h("p", { class: "note", role: "status" }), pages = h("nav", { class: "pages", "aria-label": "Pages of failures" });

  const keep = () => history.replaceState(null, "", addressOf(run.run, "failures", { stage: state.stage, error_type: state.error_type, text: state.text }));
  const asking = (offset, limit) => `/api/runs/${run.run}/failures?${query({ stage: state.stage, error_type: state.error_type, text: state.text, offset, limit })}`;

  const begin = newest(signal);

  async function load() {
    const mine = begin();
    try {
      const found = await ask(asking(state.offset, PAGE), { signal: mine });
      const all = found.reasons.reduce((sum, each) => sum + each.count, 0), most = found.reasons[0]?.count ?? 1;
      const reason = (stage, kind, label, number) => h("li", {}, h("button", { type: "button", "aria-pressed": String(state.stage === stage && state.error_type === kind), onclick: () => change({ stage, error_type: kind }) }, label),
        h("meter", { min: 0, max: most, value: Math.min(number, most), "aria-label": `${number} inputs` }), h("span", {}, count(number)));
      const focused = document.activeElement?.closest?.(".reasons") ? document.activeElement.textContent : null;
      reasons.replaceChildren(reason("", "", "every reason", all), ...found.reasons.map((each) => reason(each.stage, each.error_type, `${each.stage} / ${each.error_type}`, each.count)));
      if (focused) [...reasons.querySelectorAll("button")].find((each) => each.textContent === focused)?.focus();
      rows.replaceChildren(...found.rows.map((row) => h("tr", {}, h("td", {}, h("code", {}, row.uri + (row.member ? ` ${row.member}` : "")), h("div", { class: "place" }, row.id)), h("td", {}, `${row.stage} / ${row.error_type}`), h("td", {}, row.error))));
      told.textContent = all === 0 ? "no input failed" : `${count(found.total)} of ${count(all)} failed inputs`;
      say(told.textContent);
      const turn = (by, label, can) => h("button", { type: "button", disabled: !can, onclick: () => { state.offset = Math.max(0, state.offset + by); load(); } }, label);
      pages.replaceChildren(turn(-PAGE, "\u2190 Previous", state.offset > 0), turn(PAGE, "Next \u2192", state.offset + found.rows.length < found.total));
    } catch (error) { if (!mine.aborted) told.replaceChildren(problem(error)); }
  }

  function change(values) {
    Object.assign(state, values, { offset: 0 });
    keep();
    load();
  }

  /** Every row that passes, page by page, as CSV. */
  async function save() {
    const lines = ["id,uri,member,stage,error_type,error"], cell = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
    for (let offset = 0, total = 1; offset < total; offset += 500) {
      const found = await ask(asking(offset, 500), { signal });
      total = found.total;
      lines.push(...found.rows.map((row) => [row.id, row.uri, row.member, row.stage, row.error_type, row.error].map(cell).join(",")));
    }
    download(`${run.name}-failed.csv`, `${lines.join("\n")}\n`, "text/csv");
  }

  let typing;
  const text = h("input", { type: "search", "aria-label": "Text in the name or the reason", placeholder: "part of a name, a reason or an id", value: state.text, oninput: () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ text: text.value }), 250);
  } });
  const heads = ["input", "reason", "what happened, and what to do"].map((name) => h("th", { scope: "col" }, name));
  main.replaceChildren(h("h1", {}, "Failures"), reasons, h("div", { class: "controls" }, text, h("button", { type: "button", onclick: save }, "Download this list")), told,
    wide("Failed inputs", h("table", { class: "failures" }, h("thead", {}, h("tr", {}, heads)), rows)), pages);
  await load();
}
