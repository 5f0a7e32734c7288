// The list of runs, the page of one run, and its log; each follows a run that goes on.

import { addressOf } from "./app.js";
import { ask, count, duration, h, poll, say, wide, worded } from "./dom.js";

const STATES = { complete: "good", running: "live", queued: "live", looking: "soft", failed: "bad", stalled: "bad", interrupted: "open", unknown: "bad" };
const EVERY_MS = 3000;

const mark = (state) => h("span", { class: `mark-of ${STATES[state] ?? "soft"}` }, state);

function progressOf(run) {
  const found = run.progress;
  if (!found || !found.total) return h("span", { class: "soft" }, "\u2013");
  const share = Math.min(1, (found.done + found.failed) / found.total);
  const words = `${count(found.done)} of ${count(found.total)}${found.failed ? `, ${count(found.failed)} failed` : ""}`;
  return h("div", { class: "progress" }, h("progress", { max: 1, value: share, "aria-label": words }), h("span", {}, words));
}

export async function runsPage(main, runs, signal) {
  const rows = h("tbody");
  const fill = (found) => rows.replaceChildren(...found.map((run) => h("tr", {},
    h("th", { scope: "row" }, h("a", { href: addressOf(run.run, run.kind === "curve" ? "curve" : "overview") }, run.name), h("div", { class: "place" }, run.uri)),
    h("td", {}, run.kind ?? ""), h("td", {}, mark(run.state), h("div", { class: "place" }, run.why)), h("td", {}, progressOf(run)),
    h("td", {}, run.kind !== "curve" && h("a", { href: addressOf(run.run, "log") }, "log")))));
  fill(runs);
  const heads = ["run", "kind", "state", "done", ""].map((name) => h("th", { scope: "col" }, name));
  main.replaceChildren(h("h1", {}, `${count(runs.length)} runs`), wide("Runs", h("table", { class: "runs" }, h("thead", {}, h("tr", {}, heads)), rows)));
  poll(signal, EVERY_MS, async () => fill((await ask("/api/runs", { signal })).runs));
}

const number = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function numbersOf(run) {
  const done = run.success ?? {}, progress = run.progress ?? {};
  const shown = [
    ["inputs", done.inputs ?? progress.total], ["done", done.done ?? progress.done], ["failed", done.failed ?? progress.failed],
  ].filter(([, value]) => value !== undefined);
  if (run.rows !== undefined) shown.push(["rows", run.rows]);
  const numbers = shown.map(([name, value]) => number(name, count(value)));
  if (run.state === "running" && progress.left_s) numbers.push(number("time left", duration(progress.left_s)));
  if (run.state === "running" && progress.images_per_s) numbers.push(number("a second", worded(progress.images_per_s)));
  return numbers;
}

function reasonsOf(run) {
  const all = run.reasons ?? [];
  if (!all.length) return null;
  const most = all[0].count;
  return h("section", {}, h("h2", {}, "Why inputs failed"), h("ul", { class: "reasons" }, all.slice(0, 12).map((each) => h("li", {},
    h("a", { href: addressOf(run.run, "failures", { stage: each.stage, error_type: each.error_type }) }, `${each.stage} / ${each.error_type}`),
    h("meter", { min: 0, max: most, value: each.count, "aria-label": `${each.count} inputs` }), h("span", {}, count(each.count))))));
}

const resultsOf = (run) => (run.results?.length ? h("section", {}, h("h2", {}, "Found out so far"), h("ul", {}, run.results.map((each) =>
  h("li", {}, h("code", {}, each.name), ` \u2013 ${count(each.rows)} rows, ${each.made_at}`, each.is_stale && h("strong", {}, ", stale"))))) : null);

const noteList = (run) => (run.notes?.length ? h("section", { class: "notes" }, h("h2", {}, "Notes"), h("ul", {}, run.notes.map((note) => h("li", {}, note)))) : null);

const columnsOf = (run) => (run.types && Object.keys(run.types).length ? h("details", {}, h("summary", {}, `${Object.keys(run.types).length} columns`),
  wide("Columns", h("table", {}, h("tbody", {}, Object.entries(run.types).map(([name, kind]) =>
    h("tr", {}, h("td", {}, h("code", {}, name)), h("td", {}, kind + (run.units[name] ? `, ${run.units[name]}` : "")))))))) : null);

export async function overviewPage(main, run, asked, signal) {
  const state = h("p", { class: "state" }), numbers = h("dl", { class: "numbers" }), progress = h("div");
  const fill = (now) => {
    state.replaceChildren(mark(now.state), ` ${now.why ?? ""}`);
    numbers.replaceChildren(...numbersOf(now));
    progress.replaceChildren(now.state === "complete" || !now.progress?.total ? "" : progressOf(now));
  };
  fill(run);
  main.replaceChildren(h("h1", {}, run.name), h("p", { class: "place" }, run.uri), state, numbers, progress, noteList(run) ?? "", reasonsOf(run) ?? "",
    resultsOf(run) ?? "", h("section", {}, h("h2", {}, "What was run"), h("pre", { tabindex: 0, class: "spec" }, run.settings || "nothing is recorded yet"), columnsOf(run)));
  if (["complete", "failed"].includes(run.state)) return;
  poll(signal, EVERY_MS, async () => {
    const now = await ask(`/api/runs/${run.run}/state`, { signal });
    if (now.state === run.state && !["running", "looking"].includes(now.state)) return;
    fill(now.state === "looking" ? { ...run, ...now } : { ...(await ask(`/api/runs/${run.run}`, { signal })) });
  });
}

export async function logPage(main, run, asked, signal) {
  const text = h("pre", { class: "log", tabindex: 0, "aria-label": "Log" }), note = h("p", { class: "note" });
  const fill = (found) => {
    const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 8;
    if (text.textContent === found.text && found.text) return;
    text.textContent = found.text || "no attempt has written a line yet";
    note.textContent = found.attempt ? `attempt ${found.attempt}${found.is_cut ? ", its end" : ""}; followed while it goes on` : "";
    if (atEnd) text.scrollTop = text.scrollHeight;
  };
  main.replaceChildren(h("h1", {}, "Log"), note, text);
  fill(await ask(`/api/runs/${run.run}/log`, { signal }));
  text.scrollTop = text.scrollHeight;
  poll(signal, EVERY_MS, async () => fill(await ask(`/api/runs/${run.run}/log`, { signal })));
  say("the log is shown");
}
