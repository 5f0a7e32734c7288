// Elements and answers. Texts of the data become text nodes and attributes, never markup.

/** An element: `h("a", { href, class, onclick }, child, ...)`. Children are elements, texts, or nothing. */
export function h(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "disabled") made[key] = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A table that scrolls by itself where it is wider than the window, also by the arrow keys. */
export const wide = (name, table) => h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": name }, table);

/** An answer of the server as JSON. Throws an Error with the server's words. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server gives no answer; was pixelmill serve ended?");
  }
  const found = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(found.error || `the server answered ${answer.status}`);
  return found;
}

/** Signals for questions of which only the newest counts: each one ends that before it, whose `ask` then throws, and `signal` ends all. */
export function newest(signal) {
  let mine = new AbortController();
  signal.addEventListener("abort", () => mine.abort());
  return () => {
    mine.abort();
    mine = new AbortController();
    if (signal.aborted) mine.abort();
    return mine.signal;
  };
}

/** A head as JSON, and the numbers after it: see `packed` of the server. */
export async function askPacked(path, options = {}) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || `the server answered ${answer.status}`);
  const data = await answer.arrayBuffer(), size = new DataView(data).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
  return { head, data, start: 4 + size + ((4 - (size % 4)) % 4) };
}

export const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null)).toString();

const whole = new Intl.NumberFormat("en-US");
export const count = (value) => (value === null || value === undefined ? "?" : whole.format(value));

/** A value as a person reads it. */
export function worded(value) {
  if (value === null || value === undefined) return "\u2013";
  if (typeof value === "number") return Number.isInteger(value) ? whole.format(value) : String(Number(value.toPrecision(6)));
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(worded).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export const shortName = (uri) => String(uri ?? "").replace(/\/+$/, "").split("/").slice(-2).join("/");

export const duration = (seconds) => {
  if (seconds === null || seconds === undefined) return "?";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
};

/** Say something to those who hear the page. */
export function say(text) { document.getElementById("said").textContent = text; }

export const problem = (error) => h("p", { class: "problem", role: "alert" }, error.message || String(error));

/** A file for the user, made in the browser. */
export function download(name, text, kind = "text/plain") {
  const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: kind })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Runs `work` again and again until the page it belongs to is left. */
export function poll(signal, everyMs, work) {
  const again = async () => {
    if (signal.aborted) return;
    if (!document.hidden) await work().catch(() => {});
    if (!signal.aborted) setTimeout(again, everyMs);
  };
  setTimeout(again, everyMs);
}
