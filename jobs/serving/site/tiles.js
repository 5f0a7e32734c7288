// Pictures of rows in a grid: loaded when they come into view; one that can't be shown says why.

import { ask, h, shortName } from "./dom.js";

export const pictureOf = (run, row, which, size = "small", window_ = "") =>
  `/api/runs/${run.run}/rows/${row}/pictures/${encodeURIComponent(which)}?size=${size}&v=${run.version}${window_ ? `&window=${window_}` : ""}`;

/** A picture, or its reason where there is none. */
export function picture(address, alt, loading = "lazy") {
  const shown = h("img", { alt, src: address, loading, decoding: "async" });
  shown.addEventListener("error", () => {
    ask(address).then(() => "can't be shown", (error) => error.message).then((why) => shown.replaceWith(h("span", { class: "none" }, why)));
  });
  return shown;
}

/** A button with the picture of a row; `words` is shown beside its name. */
export function tile(run, row, which, words, onclick) {
  const name = shortName(row.uri) + (row.member ? ` ${row.member}` : "") + (row.place ? ` #${row.place}` : "");
  const shown = which ? picture(pictureOf(run, row._row, which), name) : h("span", { class: "none" }, "no picture");
  return h("button", { type: "button", class: "tile", "data-row": row._row, title: row.uri, onclick },
    h("span", { class: "frame" }, shown), h("span", { class: "caption" }, words && h("b", {}, words), words && " ", name));
}

/** Arrow keys move between the tiles of a grid. */
export function walkable(grid) {
  grid.addEventListener("keydown", (event) => {
    const tiles = [...grid.querySelectorAll("button.tile")], at = tiles.indexOf(document.activeElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const across = tiles.filter((each) => Math.abs(each.offsetTop - tiles[0].offsetTop) < 4).length;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + across, ArrowUp: at - across, Home: 0, End: tiles.length - 1 }[event.key];
    if (to === undefined || !tiles[to]) return;
    tiles[to].focus();
    event.preventDefault();
  });
  return grid;
}
