// CT: the series of a run with their verdicts, slices through windows to scroll through, and curves of labels.

import { ask, count, h, say, wide, worded } from "./dom.js";
import { WINDOWS } from "./lightbox.js";

const yes = (value) => h("span", { class: value ? "good" : "bad" }, value ? "yes" : "no");
const SVG = "http://www.w3.org/2000/svg";

export async function seriesPage(main, run, asked, signal) {
  main.replaceChildren(h("h1", {}, "Series"), h("p", { class: "note" }, "reading the series\u2026"));
  const found = await ask(`/api/runs/${run.run}/series`, { signal });
  const viewer = h("div", { class: "viewer", hidden: true }), body = h("tbody");
  const heads = ["series", "slices", "size", "step", "2-D", "3-D", "reasons"].map((name) => h("th", { scope: "col" }, name));
  found.series.forEach((each, number) => {
    const short = each.series_id.slice(0, 8), open = () => show(viewer, run, found.series, number, signal);
    const name = found.kind === "slices" ? h("button", { type: "button", class: "link", onclick: open }, short) : h("code", { title: each.series_id }, short);
    body.append(h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, count(each.slices)), h("td", {}, `${each.rows ?? "?"} \u00d7 ${each.columns ?? "?"}`), h("td", {}, each.step_mm ? `${worded(each.step_mm)} mm` : "\u2013"),
      h("td", {}, yes(each.usable_2d)), h("td", {}, yes(each.usable_3d)), h("td", { class: "why" }, [...each.reasons_2d, ...each.reasons_3d].map((reason) => h("div", {}, reason)))));
  });
  const usable = (key) => found.series.filter((each) => each[key]).length;
  main.replaceChildren(h("h1", {}, "Series"), h("p", { class: "note" }, `${count(found.series.length)} series: ${count(usable("usable_2d"))} usable in 2-D, ${count(usable("usable_3d"))} in 3-D`), viewer,
    wide("Series", h("table", { class: "series" }, h("thead", {}, h("tr", {}, heads)), body)));
  if (found.kind === "slices" && found.series.length) show(viewer, run, found.series, 0, signal, false);
}

/** One series, slice by slice: wheel, slider, or keys. */
function show(viewer, run, series, number, signal, focus = true) {
  const each = series[number], last = each.slices - 1;
  let at = Math.floor(each.slices / 2), windowName = viewer.dataset.window || WINDOWS[0];
  const shown = h("img", { alt: "", class: "slice" }), told = h("figcaption", {}), note = h("p", { class: "none", hidden: true });
  const slider = h("input", { type: "range", min: 0, max: last, value: at, "aria-label": "Slice", oninput: () => go(Number(slider.value)) });
  const address = (place) => `/api/runs/${run.run}/series/${number}/slices/${place}?window=${windowName}&v=${run.version}`;
  shown.addEventListener("error", () => ask(shown.getAttribute("src")).catch((error) => { note.textContent = error.message; note.hidden = false; }));
  shown.addEventListener("load", () => { note.hidden = true; viewer.dataset.loaded = `${number} ${at} ${windowName}`; });

  function go(place) {
    at = Math.max(0, Math.min(last, place));
    slider.value = at;
    const where = each.positions_mm[at];
    told.textContent = `series ${each.series_id.slice(0, 8)}, slice ${at + 1} of ${each.slices}${where === null ? "" : `, ${where.toFixed(1)} mm`}, ${windowName}`;
    shown.alt = told.textContent;
    shown.src = address(at);
    for (const next of [at + 1, at - 1]) if (next >= 0 && next <= last) new Image().src = address(next);
  }

  const windows = h("div", { role: "group", "aria-label": "Window", class: "windows" }, WINDOWS.map((name) => h("button", { type: "button", "aria-pressed": String(name === windowName), onclick: (event) => {
    windowName = viewer.dataset.window = name;
    for (const other of windows.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
    go(at);
    say(`window ${name}`);
  } }, name)));
  const figure = h("figure", { tabindex: 0, "aria-label": "Slices; arrow keys go through them", onkeydown: (event) => {
    const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || event.target !== figure) return;
    go(Number.isFinite(by) ? at + by : by < 0 ? 0 : last);
    event.preventDefault();
  } }, shown, note, told);
  figure.addEventListener("wheel", (event) => { event.preventDefault(); go(at + Math.sign(event.deltaY)); }, { passive: false });
  viewer.hidden = false;
  viewer.replaceChildren(windows, figure, slider);
  go(at);
  if (focus) { figure.focus(); viewer.scrollIntoView({ block: "nearest" }); }
}

// ---------------------------------------------------------------------------------------------------------------- curve

const COLOURS = 6, WIDTH = 720, HEIGHT = 320, LEFT = 56, BOTTOM = 34;

function s(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A line for each arm, with the deviation over seeds. */
function chart(points, metric) {
  const mine = points.filter((each) => each.metric === metric), ticks = [...new Set(mine.map((each) => each.labels ?? "all"))], arms = [...new Set(mine.map((each) => each.arm))];
  const low = Math.min(...mine.map((each) => each.mean - each.deviation)), high = Math.max(...mine.map((each) => each.mean + each.deviation)), span = high - low || 1;
  const x = (labels) => LEFT + (ticks.indexOf(labels ?? "all") / Math.max(1, ticks.length - 1)) * (WIDTH - LEFT - 20), y = (value) => 12 + (1 - (value - low) / span) * (HEIGHT - BOTTOM - 20);
  const drawn = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${metric} by the number of labels, from ${worded(low)} to ${worded(high)}`, class: "curve" });
  for (const tick of ticks) drawn.append(s("text", { x: x(tick), y: HEIGHT - 10, "text-anchor": "middle" }, String(tick)));
  for (const value of [low, (low + high) / 2, high]) drawn.append(s("line", { x1: LEFT, x2: WIDTH - 12, y1: y(value), y2: y(value), class: "rule" }), s("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(3)));
  arms.forEach((arm, number) => {
    const own = mine.filter((each) => each.arm === arm).sort((a, b) => x(a.labels) - x(b.labels)), shift = (number - (arms.length - 1) / 2) * 4;
    const line = s("g", { class: `arm arm-${number % COLOURS}` });
    line.append(s("polyline", { points: own.map((each) => `${x(each.labels) + shift},${y(each.mean)}`).join(" ") }));
    for (const each of own) line.append(s("line", { x1: x(each.labels) + shift, x2: x(each.labels) + shift, y1: y(each.mean - each.deviation), y2: y(each.mean + each.deviation) }), s("circle", { cx: x(each.labels) + shift, cy: y(each.mean), r: 3.5 }));
    drawn.append(line);
  });
  return h("figure", { class: "chart" }, h("figcaption", {}, `${metric} by labelled patients`), drawn, h("div", { class: "arms" }, arms.map((arm, number) => h("span", { class: `arm-${number % COLOURS}` }, h("i"), arm))));
}

export async function curvePage(main, run, asked, signal) {
  const found = await ask(`/api/runs/${run.run}/curve`, { signal });
  const metrics = [...new Set(found.points.map((each) => each.metric))], heads = ["metric", "labels", "arm", "mean", "deviation", "seeds", "against scratch"].map((name) => h("th", { scope: "col" }, name));
  const gain = (each) => (each.gain ? `${each.gain.mean >= 0 ? "+" : ""}${each.gain.mean.toFixed(3)} [${each.gain.low.toFixed(3)}, ${each.gain.high.toFixed(3)}]` : "\u2013");
  const primary = found.primary ?? {};
  main.replaceChildren(h("h1", {}, run.name), h("p", { class: "note" }, `The comparison that was written down first: ${primary.arm ?? "none"} against scratch at n = ${primary.labels ?? "all"}, ${primary.metric}: ${primary.result ? gain(primary.result) : "\u2013"}`),
    ...metrics.map((metric) => chart(found.points, metric)),
    wide("Points of the curve", h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, found.points.map((each) => h("tr", {}, h("td", {}, each.metric), h("td", {}, each.labels ?? "all"), h("td", {}, each.arm), h("td", {}, each.mean.toFixed(4)), h("td", {}, each.deviation.toFixed(4)), h("td", {}, each.seeds), h("td", {}, gain(each))))))));
}

