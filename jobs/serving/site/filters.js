// Filters of rows: chips of those that hold, and a form for one more. Used by the grid and the map.

import { ask, count, h, query, worded } from "./dom.js";

const OPERATORS = {
  number: ["at least", "at most", "is", "is not", "is empty", "is not empty"],
  text: ["contains", "is", "is not", "is empty", "is not empty"],
  boolean: ["is", "is empty", "is not empty"],
};
const needsValue = (operator) => !operator.endsWith("empty");

/** `changed(filters)` is called with the new list of [column, operator, value]. */
export function filterBar(run, filters, changed) {
  const columns = Object.keys(run.columns), list = h("datalist", { id: "known-values" });
  let current = [...filters];
  const column = h("select", { "aria-label": "Column" }, columns.map((name) => h("option", {}, name)));
  const operator = h("select", { "aria-label": "Condition" }), spot = h("span"), hint = h("span", { class: "soft hint" });
  const chips = h("div", { class: "chips" });
  let value = h("input");

  function refit() {
    const kind = run.columns[column.value];
    operator.replaceChildren(...OPERATORS[kind].map((name) => h("option", {}, name)));
    value = kind === "boolean" ? h("select", { "aria-label": "Value" }, h("option", { value: "true" }, "yes"), h("option", { value: "false" }, "no"))
      : h("input", { "aria-label": "Value", type: kind === "number" ? "number" : "text", step: "any", list: kind === "text" ? "known-values" : undefined, placeholder: kind === "number" ? "number" : "text" });
    spot.replaceChildren(value);
    look(column.value);
  }

  async function look(name) {
    hint.textContent = "";
    const found = await ask(`/api/runs/${run.run}/column?${query({ name })}`).catch(() => null);
    if (!found || name !== column.value) return;
    list.replaceChildren(...found.top.filter(([each]) => typeof each === "string").map(([each]) => h("option", { value: each })));
    hint.textContent = found.low === null ? `${count(found.distinct)} values` : `${worded(found.low)} to ${worded(found.high)}`;
  }

  function fill() {
    chips.replaceChildren(...current.map((each, place) => h("button", { type: "button", class: "chip", "aria-label": `Remove the filter ${each.map(worded).join(" ")}`, onclick: () => {
      current = current.filter((_, other) => other !== place);
      fill();
      (chips.querySelector("button") ?? column).focus();
      changed(current);
    } }, `${each[0]} ${each[1]} ${each.length > 2 ? worded(each[2]) : ""}`, h("span", { "aria-hidden": "true" }, " \u00d7"))));
  }

  const form = h("form", { class: "filter", onsubmit: (event) => {
    event.preventDefault();
    const kind = run.columns[column.value], given = value.value;
    if (needsValue(operator.value) && given === "" && kind !== "text") { value.focus(); return; }
    const typed = kind === "number" ? Number(given) : kind === "boolean" ? given === "true" : given;
    current = [...current, needsValue(operator.value) ? [column.value, operator.value, typed] : [column.value, operator.value]];
    fill();
    if (value.tagName === "INPUT") value.value = "";
    changed(current);
  } }, h("span", { class: "legend" }, "Filter"), column, operator, spot, h("button", { type: "submit" }, "Add"), hint, list);
  operator.addEventListener("change", () => { value.hidden = !needsValue(operator.value); });
  column.addEventListener("change", refit);
  column.value = columns.find((name) => !["id", "uri", "member"].includes(name)) ?? columns[0];
  refit();
  fill();
  return h("div", { class: "filters" }, form, chips);
}
