// The map of a report: what PointMap (point_map.js, before this) needs of the page, and the pictures of its tip.

const data = JSON.parse(document.getElementById("points").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
const clusters = new Uint8Array(bytes(data.clusters)), tiles = new Int32Array(bytes(data.tiles));
const part = (name) => document.getElementById(name);
const box = part("map"), tip = part("tip"), picture = part("tip-picture");
const SHOWN = 144, OWN_COLOURS = 39;
const sprites = data.atlases.map((text) => `url(data:image/jpeg;base64,${text})`);

function tell(i) {
  if (i < 0) return;
  part("tip-name").textContent = data.names[i] + " \u00b7 cluster " + clusters[i];
  part("map-said").textContent = part("tip-name").textContent;
  const tile = tiles[i], each = data.side * data.side, scale = SHOWN / data.tile;
  picture.hidden = tile < 0;
  if (tile < 0) return;
  const place = tile % each;
  picture.style.backgroundImage = sprites[Math.floor(tile / each)];
  picture.style.backgroundSize = `${data.side * SHOWN}px auto`;
  picture.style.backgroundPosition = `${-(place % data.side) * data.tile * scale}px ${-Math.floor(place / data.side) * data.tile * scale}px`;
}

const map = new PointMap(
  { box, canvas: box.querySelector("canvas"), tip, zoomIn: part("zoom-in"), zoomOut: part("zoom-out"), zoomAll: part("zoom-all") },
  { x: new Uint16Array(bytes(data.x)), y: new Uint16Array(bytes(data.y)), steps: data.steps },
  { choose: tell },
);
const most = clusters.reduce((a, b) => Math.max(a, b), 0), own = Math.min(most + 1, OWN_COLOURS);
const colours = groupColours(own), kindOf = (cluster) => Math.min(cluster, own);
map.colourBy(clusters.map(kindOf), colours);
for (const kind of new Set([...clusters].map(kindOf).sort((a, b) => a - b))) {
  const button = document.createElement("button"), mark = document.createElement("i");
  mark.style.background = asCss(colours[kind]);
  button.type = "button";
  button.setAttribute("aria-pressed", "true");
  button.append(mark, kind === own ? `${kind} and more` : `cluster ${kind}`);
  button.addEventListener("click", () => button.setAttribute("aria-pressed", String(map.toggle(kind))));
  part("legend").append(button);
}
document.body.dataset.ready = "yes";
document.body.dataset.readyMs = Math.round(performance.now());
