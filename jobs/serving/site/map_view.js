// The map of a run: points coloured by a column, filtered as in the grid; a point shows its picture, a click opens it.

import { ask, askPacked, count, h, newest, problem, query, say, shortName, worded } from "./dom.js";
import { filterBar } from "./filters.js";
import { openLightbox } from "./lightbox.js";
import { asCss, groupColours, PointMap, scaleColours } from "./point_map.js";
import { picture, pictureOf } from "./tiles.js";

const HELP = "Drag to move, scroll or pinch to zoom, point at a row to see it, click to open it; with the keyboard: arrows, + and -, Enter, Escape.";

export async function mapPage(main, run, asked, signal) {
  main.replaceChildren(h("h1", {}, "Map"), h("p", { class: "note", role: "status" }, "placing the rows\u2026"));
  const began = performance.now();
  const { head, data, start } = await askPacked(`/api/runs/${run.run}/map`, { signal });
  const fetched = performance.now(), size = 2 * head.count + (head.count % 2 ? 2 : 0);
  const points = { x: new Uint16Array(data, start, head.count), y: new Uint16Array(data, start + size, head.count), steps: head.steps };

  const tipPicture = h("div", { id: "tip-picture" }), tipName = h("p", { id: "tip-name" }), legend = h("div", { id: "legend", role: "group", "aria-label": "Colours" });
  const tip = h("div", { id: "tip", hidden: true }, tipPicture, tipName), said = h("p", { id: "map-said", class: "said", "aria-live": "polite" });
  const canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": "Map of the rows; arrow keys move between them, Enter opens one", "aria-describedby": "map-said" });
  const button = (id, label, text) => h("button", { type: "button", id, "aria-label": label }, text);
  const [zoomIn, zoomOut, zoomAll] = [button("zoom-in", "Zoom in", "+"), button("zoom-out", "Zoom out", "\u2212"), button("zoom-all", undefined, "All")];
  const box = h("div", { id: "map" }, canvas, tip, h("div", { class: "tools" }, zoomIn, zoomOut, zoomAll));
  const by = h("select", { "aria-label": "Colour by", onchange: () => colour(by.value) }, h("option", { value: "" }, "one colour"), head.columns.map((name) => h("option", { selected: name === head.colour }, name)));
  const told = h("p", { class: "note" }, `${count(head.count)} rows; near points have similar vectors (${head.made_by}). ${HELP}`);
  main.replaceChildren(h("h1", {}, "Map"), told, filterBar(run, [], filter), h("div", { class: "controls" }, h("label", {}, "Colour by ", by)), box, legend, said);

  let looked = new AbortController(), isDrawn = false;
  const known = new Map();
  const map = new PointMap({ box, canvas, tip, zoomIn, zoomOut, zoomAll }, points, {
    renderer: asked.get("renderer") || undefined,
    choose: look,
    open: async (i) => openLightbox(run, [(await rowOf(i))._row], 0, () => canvas.focus()),
    painted: () => { if (!isDrawn) { isDrawn = true; document.body.dataset.drawnMs = Math.round(performance.now()); document.body.dataset.mapMs = Math.round(performance.now() - began); } },
  });
  document.body.dataset.fetchedMs = Math.round(fetched - began);
  document.body.dataset.renderer = map.painter.kind;
  document.body.dataset.points = head.count;
  signal.addEventListener("abort", () => looked.abort());

  async function rowOf(i) {
    if (!known.has(i)) known.set(i, ask(`/api/runs/${run.run}/map/points/${i}`, { signal }));
    return known.get(i);
  }

  function look(i) {
    looked.abort();
    looked = new AbortController();
    const mine = looked.signal;
    if (i < 0) return;
    tipName.textContent = "\u2026";
    setTimeout(async () => {  // a mouse that passes asks for nothing
      if (mine.aborted) return;
      try {
        const row = await rowOf(i);
        if (mine.aborted) return;
        const shown = by.value && by.value in row ? ` \u00b7 ${by.value} ${worded(row[by.value])}` : "";
        tipName.textContent = shortName(row.uri) + shown;
        said.textContent = tipName.textContent;
        tipPicture.replaceChildren(run.pictures.length ? picture(pictureOf(run, row._row, run.pictures[0]), tipName.textContent, "eager") : "");
      } catch (error) { if (!mine.aborted) tipName.textContent = error.message; }
    }, 60);
  }

  const beginColour = newest(signal), beginFilter = newest(signal);

  async function colour(column) {
    const mine = beginColour();
    legend.replaceChildren();
    if (!column) { map.colourBy(new Uint8Array(head.count), groupColours(1)); return; }
    try {
      const found = await askPacked(`/api/runs/${run.run}/map/colours?${query({ by: column })}`, { signal: mine });
      const numbers = new Uint8Array(found.data, found.start, head.count);
      if (found.head.kind === "scale") scale(found.head, numbers);
      else groups(found.head, numbers);
    } catch (error) {
      if (mine.aborted) return;
      legend.replaceChildren(problem(error));
    }
    document.body.dataset.colouredMs = Math.round(performance.now() - began);
  }

  function scale(found, numbers) {
    const colours = scaleColours(found.levels);
    map.colourBy(numbers, colours);
    legend.append(h("span", { class: "scale" }, h("span", {}, worded(found.low)), h("span", { class: "steps", role: "img", "aria-label": "from low to high" },
      colours.map((rgb) => { const step = h("i"); step.style.background = asCss(rgb); return step; })), h("span", {}, worded(found.high))));
  }

  function groups(found, numbers) {
    const colours = groupColours(found.groups.length);
    map.colourBy(numbers, colours);
    const shown = [...found.groups.map(([name, rows], kind) => [kind, name, rows]), ...(found.others ? [[found.groups.length, `${count(found.other_values)} more`, found.others]] : [])];
    for (const [kind, name, rows] of shown) {
      const dot = h("i");
      dot.style.background = asCss(colours[kind]);
      const made = h("button", { type: "button", "aria-pressed": "true", title: `${count(rows)} rows`, onclick: () => made.setAttribute("aria-pressed", String(map.toggle(kind))) }, dot, name || "(empty)");
      legend.append(made);
    }
  }

  async function filter(filters) {
    const mine = beginFilter();
    try {
      const found = await askPacked(`/api/runs/${run.run}/map/shown?${query({ filters: JSON.stringify(filters) })}`, { signal: mine });
      map.show(new Uint8Array(found.data, found.start, head.count));
      said.textContent = `${count(found.head.count)} of ${count(head.count)} points pass`;
      say(said.textContent);
    } catch (error) { if (!mine.aborted) said.textContent = error.message; }
  }

  await colour(by.value);
}


