// A map of points that is moved, zoomed and pointed at, with mouse, fingers or keys: WebGL where there is, Canvas 2D otherwise.
// The report holds it in its page, the pages of `pixelmill serve` import it; this is the only renderer of both.

const GROUP_COLOURS = [
  [27, 138, 128], [209, 102, 43], [90, 103, 200], [184, 69, 143], [124, 154, 31], [199, 154, 18],
  [63, 143, 208], [160, 85, 45], [138, 111, 181], [207, 68, 88], [79, 122, 82],
];
const OTHERS_COLOUR = [122, 127, 137];
const SCALE_COLOURS = [[72, 40, 120], [50, 100, 142], [31, 158, 137], [110, 190, 70], [222, 186, 40]];
const SLOTS = 64, NOTHING = 255, PAD = 24, MOST_ZOOM = 400, CELLS = 256, BY_PIXEL_FROM = 20000;

const asCss = (rgb) => `rgb(${rgb[0]} ${rgb[1]} ${rgb[2]})`;

/** Colours of `count` groups, and one more for all others. */
function groupColours(count) {
  const made = GROUP_COLOURS.slice(0, count);
  while (made.length < count) made.push(fromHue((made.length * 137.5) % 360));
  return [...made, OTHERS_COLOUR];
}

function fromHue(hue) {
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (0.52 - 0.24 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
}

/** Colours of `count` steps of a scale. */
function scaleColours(count) {
  return Array.from({ length: count }, (_, step) => {
    const at = (step / Math.max(1, count - 1)) * (SCALE_COLOURS.length - 1), low = Math.min(Math.floor(at), SCALE_COLOURS.length - 2);
    return SCALE_COLOURS[low].map((value, channel) => Math.round(value + (SCALE_COLOURS[low + 1][channel] - value) * (at - low)));
  });
}

const VERTEX = `
attribute float x; attribute float y; attribute float colour; attribute float shown;
uniform vec4 place; uniform float size; uniform vec4 colours[${SLOTS}];
varying vec4 paint;
void main() {
  paint = colours[int(colour)];
  gl_Position = shown < 0.5 || paint.a == 0.0 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(x * place.x + place.z, y * place.y + place.w, 0.0, 1.0);
  gl_PointSize = size;
}`;
const FRAGMENT = `
precision mediump float; varying vec4 paint;
void main() {
  float far = length(gl_PointCoord - 0.5);
  float alpha = paint.a * (1.0 - smoothstep(0.4, 0.5, far));
  gl_FragColor = vec4(paint.rgb * alpha, alpha);
}`;

/** Whether WebGL is missing, or computed in software, which Canvas 2D outruns. */
function isSlow() {
  const gl = document.createElement("canvas").getContext("webgl", { failIfMajorPerformanceCaveat: true });
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = names ? String(gl.getParameter(names.UNMASKED_RENDERER_WEBGL)) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return !gl || /swiftshader|llvmpipe|software|basic render/i.test(name);
}

/** Draws with WebGL; `made` is null where it gains nothing: for few points, and where it is slow. */
class GlPainter {
  static made(canvas, points, isForced) {
    if (!isForced && (points.x.length <= BY_PIXEL_FROM || isSlow())) return null;
    const gl = canvas.getContext("webgl", { antialias: false, alpha: true });
    return gl ? new GlPainter(gl, points) : null;
  }

  constructor(gl, points) {
    this.gl = gl;
    this.points = points;
    this.kind = "webgl";
    this.start();
  }

  start() {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.uniforms = Object.fromEntries(["place", "size", "colours"].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffers = {};
    for (const name of ["x", "y", "colour", "shown"]) {
      const at = gl.getAttribLocation(program, name);
      this.buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 1, name === "x" || name === "y" ? gl.UNSIGNED_SHORT : gl.UNSIGNED_BYTE, false, 0, 0);
    }
    this.fill(["x", "y", "colour", "shown"]);
  }

  fill(names) {
    const gl = this.gl;
    for (const name of names) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.bufferData(gl.ARRAY_BUFFER, this.points[name], gl.STATIC_DRAW);
    }
  }

  paint(view, size, colours) {
    const gl = this.gl, ratio = view.ratio;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const kx = view.kx * 2 / view.width, ky = -view.ky * 2 / view.height;
    gl.uniform4f(this.uniforms.place, kx, ky, view.x0 * 2 / view.width - 1, 1 - view.y0 * 2 / view.height);
    gl.uniform1f(this.uniforms.size, Math.max(1.5, 2 * size * ratio));
    gl.uniform4fv(this.uniforms.colours, colours);
    gl.drawArrays(gl.POINTS, 0, this.points.x.length);
  }
}

/** Draws with Canvas 2D: discs while points are few, single pixels where they are many. */
class CanvasPainter {
  constructor(canvas, points) {
    this.pen = canvas.getContext("2d");
    this.canvas = canvas;
    this.points = points;
    this.kind = "canvas";
  }

  fill() {}

  paint(view, size, colours) {
    if (this.points.x.length > BY_PIXEL_FROM) this.paintPixels(view, size, colours);
    else this.paintDiscs(view, size, colours);
  }

  paintDiscs(view, size, colours) {
    const pen = this.pen, { x, y, colour, shown } = this.points;
    pen.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    pen.clearRect(0, 0, view.width, view.height);
    for (let slot = 0; slot < SLOTS; slot++) {
      if (!colours[4 * slot + 3]) continue;
      pen.fillStyle = asCss([0, 1, 2].map((channel) => Math.round(255 * colours[4 * slot + channel])));
      pen.globalAlpha = colours[4 * slot + 3];
      pen.beginPath();
      for (let i = 0; i < x.length; i++) {
        if (colour[i] !== slot || !shown[i]) continue;
        const px = x[i] * view.kx + view.x0, py = y[i] * view.ky + view.y0;
        if (px < -size || py < -size || px > view.width + size || py > view.height + size) continue;
        pen.moveTo(px + size, py);
        pen.arc(px, py, size, 0, 2 * Math.PI);
      }
      pen.fill();
    }
    pen.globalAlpha = 1;
  }

  paintPixels(view, size, colours) {
    const { width, height } = this.canvas, { x, y, colour, shown } = this.points;
    const picture = this.pen.createImageData(width, height), pixels = new Uint32Array(picture.data.buffer);
    const packed = new Uint32Array(SLOTS);
    for (let slot = 0; slot < SLOTS; slot++) {
      const [r, g, b] = [0, 1, 2].map((channel) => Math.round(255 * colours[4 * slot + channel]));
      packed[slot] = colours[4 * slot + 3] ? (0xff000000 | (b << 16) | (g << 8) | r) >>> 0 : 0;
    }
    const side = Math.max(1, Math.round(1.4 * size * view.ratio)), r = view.ratio;
    for (let i = 0; i < x.length; i++) {
      if (!shown[i] || !packed[colour[i]]) continue;
      const px = Math.round((x[i] * view.kx + view.x0) * r), py = Math.round((y[i] * view.ky + view.y0) * r);
      if (px < 0 || py < 0 || px + side > width || py + side > height) continue;
      for (let down = 0; down < side; down++) pixels.fill(packed[colour[i]], (py + down) * width + px, (py + down) * width + px + side);
    }
    this.pen.putImageData(picture, 0, 0);
  }
}

/** Points by cells, so that the nearest to a spot is found without looking at all. */
class Cells {
  constructor(x, y, steps) {
    this.width = (steps + 1) / CELLS;
    const cells = new Uint32Array(x.length);
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < x.length; i++) {
      cells[i] = Math.floor(y[i] / this.width) * CELLS + Math.floor(x[i] / this.width);
      this.starts[cells[i] + 1]++;
    }
    for (let cell = 0; cell < CELLS * CELLS; cell++) this.starts[cell + 1] += this.starts[cell];
    const filled = this.starts.slice(0, CELLS * CELLS);
    this.order = new Uint32Array(x.length);
    for (let i = 0; i < x.length; i++) this.order[filled[cells[i]]++] = i;
  }

  /** Calls `each` with every point whose cell touches the range. */
  within(lowX, highX, lowY, highY, each) {
    const first = (low) => Math.max(0, Math.floor(low / this.width)), last = (high) => Math.min(CELLS - 1, Math.floor(high / this.width));
    for (let row = first(lowY); row <= last(highY); row++) {
      for (let at = this.starts[row * CELLS + first(lowX)], end = this.starts[row * CELLS + last(highX) + 1]; at < end; at++) each(this.order[at]);
    }
  }
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * `parts`: box, canvas, tip, and the buttons zoomIn, zoomOut, zoomAll. `points`: x and y as Uint16Array up to `steps`, y downwards.
 * `told`: renderer "webgl" or "canvas" (either where left out), choose(i, isPinned) when a point is pointed at (-1: none), open(i) when it is clicked or Enter is pressed.
 */
class PointMap {
  constructor(parts, points, told) {
    this.parts = parts;
    this.steps = points.steps;
    this.told = told;
    const count = points.x.length;
    this.points = { x: points.x, y: points.y, colour: new Uint8Array(count), shown: new Uint8Array(count).fill(1) };
    this.slots = new Float32Array(4 * SLOTS);
    this.hidden = new Set();
    this.colours = [];
    this.zoom = 1;
    this.left = this.top = this.width = this.height = this.size = 0;
    this.chosen = -1;
    this.pinned = this.asked = false;
    this.held = new Map();
    this.moved = this.spread = 0;
    const isForced = told.renderer === "webgl";
    const painter = told.renderer === "canvas" ? null : GlPainter.made(parts.canvas, this.points, isForced);
    this.painter = painter ?? new CanvasPainter(parts.canvas, this.points);
    this.ring = document.createElement("div");
    this.ring.className = "ring";
    this.ring.hidden = true;
    parts.box.append(this.ring);
    this.colourBy(new Uint8Array(count), [GROUP_COLOURS[0]]);
    this.listen();
    new ResizeObserver(() => this.resize()).observe(parts.box);
    this.resize();
  }

  /** A colour for each point, by its number in `colours` (rgb, 0 to 255); NOTHING is drawn in a soft grey. */
  colourBy(numbers, colours) {
    this.colours = colours.slice(0, SLOTS - 1);
    this.hidden.clear();
    this.points.colour.set(numbers);
    const colour = this.points.colour;
    for (let i = 0; i < colour.length; i++) if (colour[i] >= this.colours.length) colour[i] = SLOTS - 1;
    this.painter.fill(["colour"]);
    this.mix();
  }

  /** Draw those points alone whose byte is not 0. */
  show(bytes) {
    this.points.shown.set(bytes);
    this.painter.fill(["shown"]);
    if (this.chosen >= 0 && !this.isShown(this.chosen)) this.choose(-1);
    this.draw();
  }

  /** Hide or show a colour; returns whether it is shown now. */
  toggle(number) {
    if (!this.hidden.delete(number)) this.hidden.add(number);
    this.choose(-1);
    this.mix();
    return !this.hidden.has(number);
  }

  mix() {
    const alpha = this.points.x.length > 200000 ? 0.45 : this.points.x.length > 4000 ? 0.65 : 0.88;
    this.slots.fill(0);
    [...this.colours.entries(), [SLOTS - 1, [140, 144, 152]]].forEach(([number, rgb]) => {
      if (!this.hidden.has(number)) this.slots.set([rgb[0] / 255, rgb[1] / 255, rgb[2] / 255, number === SLOTS - 1 ? alpha / 2 : alpha], 4 * number);
    });
    this.draw();
  }

  isShown(i) { return this.points.shown[i] && this.slots[4 * this.points.colour[i] + 3] > 0; }

  get view() {
    const kx = (this.width - 2 * PAD) / this.steps * this.zoom, ky = (this.height - 2 * PAD) / this.steps * this.zoom;
    return { kx, ky, x0: PAD * this.zoom + this.left, y0: PAD * this.zoom + this.top, width: this.width, height: this.height, ratio: this.ratio };
  }

  place(i) {
    const view = this.view;
    return [this.points.x[i] * view.kx + view.x0, this.points.y[i] * view.ky + view.y0];
  }

  resize() {
    const place = this.parts.box.getBoundingClientRect();
    if (!place.width || !place.height) return;
    this.ratio = window.devicePixelRatio || 1;
    this.width = place.width;
    this.height = place.height;
    this.parts.canvas.width = Math.round(this.width * this.ratio);
    this.parts.canvas.height = Math.round(this.height * this.ratio);
    this.paint();
  }

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.paint(); });
  }

  paint() {
    if (!this.width) return;
    const count = this.points.x.length;
    const size = Math.max(count > 200000 ? 0.8 : 1.6, Math.min(5, 60 / Math.sqrt(count + 1))) * Math.min(2.6, Math.sqrt(this.zoom));
    this.size = size;
    this.painter.paint(this.view, size, this.slots);
    this.placeTip();
    if (this.told.painted) this.told.painted();
  }

  nearest(x, y, within) {
    const view = this.view, reach = Math.min(within, Math.hypot(this.width, this.height) * MOST_ZOOM);
    this.cells ??= new Cells(this.points.x, this.points.y, this.steps);
    let best = -1, least = reach * reach;
    const at = (px, zero, k) => (px - zero) / k;
    this.cells.within(at(x - reach, view.x0, view.kx), at(x + reach, view.x0, view.kx), at(y - reach, view.y0, view.ky), at(y + reach, view.y0, view.ky), (i) => {
      const dx = this.points.x[i] * view.kx + view.x0 - x, dy = this.points.y[i] * view.ky + view.y0 - y, far = dx * dx + dy * dy;
      if (far < least && this.isShown(i)) { least = far; best = i; }
    });
    return best;
  }

  choose(i) {
    if (i === this.chosen) return;
    this.chosen = i;
    this.parts.tip.hidden = this.ring.hidden = i < 0;
    this.told.choose(i, this.pinned);
    requestAnimationFrame(() => this.placeTip());  // the ring is an element: no point is drawn again
  }

  placeTip() {
    if (this.chosen < 0) return;
    const size = this.size;
    const [x, y] = this.place(this.chosen), tip = this.parts.tip, w = tip.offsetWidth, h = tip.offsetHeight, r = Math.max(6, size + 4);
    const tx = x + 14 + w > this.width ? Math.max(4, x - 14 - w) : x + 14;
    const ty = Math.max(4, Math.min(this.height - h - 4, y - h / 2));
    tip.style.transform = `translate(${Math.round(tx)}px,${Math.round(ty)}px)`;
    this.ring.style.width = this.ring.style.height = `${2 * r}px`;
    this.ring.style.transform = `translate(${x - r}px,${y - r}px)`;
  }

  zoomAt(x, y, factor) {
    const next = Math.max(1, Math.min(MOST_ZOOM, this.zoom * factor)), real = next / this.zoom;
    this.left = x - (x - this.left) * real;
    this.top = y - (y - this.top) * real;
    this.zoom = next;
    if (this.zoom === 1) this.left = this.top = 0;
    this.draw();
  }

  /** Move to the nearest point in a direction. */
  step([dx, dy]) {
    if (this.chosen < 0) { this.choose(this.nearest(this.width / 2, this.height / 2, Infinity)); return; }
    const view = this.view, { x: xs, y: ys } = this.points, [x, y] = this.place(this.chosen);
    let best = -1, least = Infinity;
    for (let i = 0; i < xs.length; i++) {
      const ax = xs[i] * view.kx + view.x0 - x, ay = ys[i] * view.ky + view.y0 - y;
      const along = ax * dx + ay * dy, aside = Math.abs(ax * dy) + Math.abs(ay * dx);
      if (along > 1 && along + 2 * aside < least && this.isShown(i)) { least = along + 2 * aside; best = i; }
    }
    if (best >= 0) this.choose(best);
  }

  onKey(event) {
    if (STEPS[event.key]) { this.pinned = true; this.step(STEPS[event.key]); }
    else if (event.key === "+" || event.key === "=") this.zoomAt(this.width / 2, this.height / 2, 1.5);
    else if (event.key === "-") this.zoomAt(this.width / 2, this.height / 2, 1 / 1.5);
    else if (event.key === "Enter" && this.chosen >= 0 && this.told.open) this.told.open(this.chosen);
    else if (event.key === "Escape" && this.chosen >= 0) { this.pinned = false; this.choose(-1); }
    else return;
    event.preventDefault();
  }

  listen() {
    const { canvas, zoomIn, zoomOut, zoomAll } = this.parts;
    const spot = (event) => { const place = canvas.getBoundingClientRect(); return [event.clientX - place.left, event.clientY - place.top]; };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.held.set(event.pointerId, spot(event));
      this.moved = this.spread = 0;
    });
    canvas.addEventListener("pointermove", (event) => this.onMove(event, spot(event)));
    const release = (event) => {
      if (!this.held.delete(event.pointerId) || this.moved > 4 || event.type !== "pointerup") return;
      const found = this.nearest(...spot(event), 30);
      const again = found >= 0 && found === this.chosen;
      this.pinned = found >= 0;
      this.choose(found);
      if (this.told.open && found >= 0 && (event.pointerType === "mouse" || again)) this.told.open(found);
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => { if (!this.pinned) this.choose(-1); });
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoomAt(...spot(event), Math.exp(-event.deltaY / 400)); }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.onKey(event));
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => { this.painter.start(); this.draw(); });
    zoomIn.addEventListener("click", () => this.zoomAt(this.width / 2, this.height / 2, 1.6));
    zoomOut.addEventListener("click", () => this.zoomAt(this.width / 2, this.height / 2, 1 / 1.6));
    zoomAll.addEventListener("click", () => { this.zoom = 1; this.left = this.top = 0; this.draw(); });
  }

  onMove(event, [x, y]) {
    const before = this.held.get(event.pointerId);
    if (!before) { if (!this.pinned) this.choose(this.nearest(x, y, 24)); return; }
    this.held.set(event.pointerId, [x, y]);
    this.moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
    if (this.held.size === 2) {
      const [a, b] = [...this.held.values()], now = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (this.spread) this.zoomAt((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, now / this.spread);
      this.spread = now;
    } else if (this.moved > 4) {
      this.left += x - before[0];
      this.top += y - before[1];
      this.draw();
    }
  }
}

export { PointMap, groupColours, scaleColours, asCss, NOTHING };
