"use strict";
(() => {
  const data = JSON.parse(document.getElementById("points").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const xs = new Uint16Array(bytes(data.x)), ys = new Uint16Array(bytes(data.y));
  const clusters = new Uint8Array(bytes(data.clusters)), tiles = new Int32Array(bytes(data.tiles));
  const count = xs.length;
  const box = document.getElementById("map"), canvas = box.querySelector("canvas"), pen = canvas.getContext("2d");
  const tip = document.getElementById("tip"), picture = document.getElementById("tip-picture");
  const nameOf = document.getElementById("tip-name"), said = document.getElementById("map-said");
  const colours = ["#1b8a80", "#d1662b", "#5a67c8", "#b8458f", "#7c9a1f", "#c79a12", "#3f8fd0", "#a0552d", "#8a6fb5", "#cf4458", "#4f7a52", "#7a7f89"];
  const grey = colours.pop();
  while (colours.length < 39) colours.push(`hsl(${Math.round(colours.length * 137.5) % 360} 50% 52%)`);
  colours.push(grey);
  const colourOf = (cluster) => colours[Math.min(cluster, colours.length - 1)];
  const hidden = new Set();
  const PAD = 24, SHOWN = 144;
  let width = 0, height = 0, zoom = 1, left = 0, top = 0, chosen = -1, pinned = false, asked = false;
  const sprites = data.atlases.map((text) => `url(data:image/jpeg;base64,${text})`);

  const screenX = (i) => (PAD + (xs[i] / data.steps) * (width - 2 * PAD)) * zoom + left;
  const screenY = (i) => (PAD + (ys[i] / data.steps) * (height - 2 * PAD)) * zoom + top;
  const isShown = (i) => !hidden.has(Math.min(clusters[i], colours.length - 1));

  function resize() {
    const ratio = window.devicePixelRatio || 1, place = box.getBoundingClientRect();
    width = place.width; height = place.height;
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw();
  }

  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; paint(); });
  }

  function paint() {
    pen.clearRect(0, 0, width, height);
    const size = Math.max(1.6, Math.min(5, 60 / Math.sqrt(count + 1))) * Math.min(2.2, Math.sqrt(zoom));
    for (let kind = 0; kind < colours.length; kind++) {
      if (hidden.has(kind)) continue;
      pen.fillStyle = colours[kind];
      pen.globalAlpha = count > 4000 ? 0.6 : 0.85;
      pen.beginPath();
      for (let i = 0; i < count; i++) {
        if (Math.min(clusters[i], colours.length - 1) !== kind) continue;
        const x = screenX(i), y = screenY(i);
        if (x < -size || y < -size || x > width + size || y > height + size) continue;
        pen.moveTo(x + size, y);
        pen.arc(x, y, size, 0, 2 * Math.PI);
      }
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (chosen >= 0) {
      pen.lineWidth = 3;
      pen.strokeStyle = getComputedStyle(document.body).color;
      pen.beginPath();
      pen.arc(screenX(chosen), screenY(chosen), size + 4, 0, 2 * Math.PI);
      pen.stroke();
    }
    placeTip();
  }

  function nearest(x, y, within) {
    let best = -1, least = within * within;
    for (let i = 0; i < count; i++) {
      if (!isShown(i)) continue;
      const dx = screenX(i) - x, dy = screenY(i) - y, far = dx * dx + dy * dy;
      if (far < least) { least = far; best = i; }
    }
    return best;
  }

  function choose(i) {
    if (i === chosen) return;
    chosen = i;
    tip.hidden = i < 0;
    if (i >= 0) {
      nameOf.textContent = data.names[i] + " \u00b7 cluster " + clusters[i];
      said.textContent = nameOf.textContent;
      const tile = tiles[i], each = data.side * data.side, scale = SHOWN / data.tile;
      picture.hidden = tile < 0;
      if (tile >= 0) {
        const place = tile % each;
        picture.style.backgroundImage = sprites[Math.floor(tile / each)];
        picture.style.backgroundSize = `${data.side * SHOWN}px auto`;
        picture.style.backgroundPosition = `${-(place % data.side) * data.tile * scale}px ${-Math.floor(place / data.side) * data.tile * scale}px`;
      }
    }
    draw();
  }

  function placeTip() {
    if (chosen < 0) return;
    const x = screenX(chosen), y = screenY(chosen), w = tip.offsetWidth, h = tip.offsetHeight;
    const tx = x + 14 + w > width ? Math.max(4, x - 14 - w) : x + 14;
    const ty = Math.max(4, Math.min(height - h - 4, y - h / 2));
    tip.style.transform = `translate(${tx}px,${ty}px)`;
  }

  function zoomAt(x, y, factor) {
    const next = Math.max(1, Math.min(60, zoom * factor)), real = next / zoom;
    left = x - (x - left) * real; top = y - (y - top) * real; zoom = next;
    if (zoom === 1) { left = 0; top = 0; }
    draw();
  }

  const spot = (event) => { const place = canvas.getBoundingClientRect(); return [event.clientX - place.left, event.clientY - place.top]; };
  const held = new Map();
  let moved = 0, spread = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, spot(event)); moved = 0; spread = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = spot(event), before = held.get(event.pointerId);
    if (!before) { if (!pinned) choose(nearest(x, y, 24)); return; }
    held.set(event.pointerId, [x, y]);
    moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
    if (held.size === 2) {
      const [a, b] = [...held.values()], now = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (spread) zoomAt((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, now / spread);
      spread = now;
    } else if (moved > 4) { left += x - before[0]; top += y - before[1]; draw(); }
  });
  const release = (event) => {
    if (held.delete(event.pointerId) && moved <= 4 && event.type === "pointerup") {
      const found = nearest(...spot(event), 30);
      pinned = found >= 0; choose(found);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { if (!pinned) choose(-1); });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomAt(...spot(event), Math.exp(-event.deltaY / 400)); }, { passive: false });

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  function step([dx, dy]) {
    if (chosen < 0) { choose(nearest(width / 2, height / 2, Infinity)); return; }
    let best = -1, least = Infinity;
    const x = screenX(chosen), y = screenY(chosen);
    for (let i = 0; i < count; i++) {
      const along = (screenX(i) - x) * dx + (screenY(i) - y) * dy, aside = Math.abs((screenX(i) - x) * dy) + Math.abs((screenY(i) - y) * dx);
      if (along > 1 && isShown(i) && along + 2 * aside < least) { least = along + 2 * aside; best = i; }
    }
    if (best >= 0) choose(best);
  }
  canvas.addEventListener("keydown", (event) => {
    if (STEPS[event.key]) { pinned = true; step(STEPS[event.key]); }
    else if (event.key === "+" || event.key === "=") zoomAt(width / 2, height / 2, 1.5);
    else if (event.key === "-") zoomAt(width / 2, height / 2, 1 / 1.5);
    else if (event.key === "Escape") { pinned = false; choose(-1); }
    else return;
    event.preventDefault();
  });
  document.getElementById("zoom-in").addEventListener("click", () => zoomAt(width / 2, height / 2, 1.6));
  document.getElementById("zoom-out").addEventListener("click", () => zoomAt(width / 2, height / 2, 1 / 1.6));
  document.getElementById("zoom-all").addEventListener("click", () => { zoom = 1; left = top = 0; draw(); });

  const kinds = [...new Set(clusters)].map((c) => Math.min(c, colours.length - 1)).sort((a, b) => a - b);
  for (const kind of new Set(kinds)) {
    const button = document.createElement("button"), mark = document.createElement("i");
    mark.style.background = colourOf(kind);
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.append(mark, kind === colours.length - 1 ? `${kind} and more` : `cluster ${kind}`);
    button.addEventListener("click", () => {
      if (!hidden.delete(kind)) hidden.add(kind);
      button.setAttribute("aria-pressed", String(!hidden.has(kind)));
      choose(-1);
      draw();
    });
    document.getElementById("legend").append(button);
  }
  new ResizeObserver(resize).observe(box);
  resize();
  document.body.dataset.ready = "yes";
  document.body.dataset.readyMs = Math.round(performance.now());
})();
