// Which page is shown: the address behind the # names a run, a page of it and what is asked there.

import { ask, h, problem } from "./dom.js";
import { duplicatesPage } from "./duplicates.js";
import { failuresPage } from "./failures.js";
import { gridPage } from "./grid.js";
import { mapPage } from "./map_view.js";
import { logPage, overviewPage, runsPage } from "./overview.js";
import { searchPage } from "./search.js";
import { curvePage, seriesPage } from "./series.js";

const PAGES = {
  overview: ["Overview", overviewPage, () => true],
  grid: ["Grid", gridPage, (run) => run.rows > 0],
  map: ["Map", mapPage, (run) => run.rows > 0],
  search: ["Search", searchPage, (run) => run.rows > 0],
  duplicates: ["Duplicates", duplicatesPage, (run) => run.rows > 0],
  series: ["Series", seriesPage, (run) => run.hounsfield?.length > 0 || run.settings?.includes("ct-index")],
  curve: ["Curve", curvePage, (run) => run.kind === "curve"],
  failures: ["Failures", failuresPage, (run) => run.kind === "job"],
  log: ["Log", logPage, (run) => run.kind !== "curve"],
};

let leaving = new AbortController();

/** What the address says: { run, page, asked }. */
function address() {
  const [path, asked] = location.hash.replace(/^#\/?/, "").split("?");
  const [run, page] = path.split("/");
  return { run: /^\d+$/.test(run) ? Number(run) : null, page: PAGES[page] ? page : null, asked: new URLSearchParams(asked || "") };
}

/** The address of a page. */
export function addressOf(run, page, asked = {}) {
  const words = new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== "" && value !== null && value !== undefined)).toString();
  return `#/${run}/${page}${words ? `?${words}` : ""}`;
}

function bar(run, runs, page) {
  const others = run && runs.length > 1 && h("a", { href: "#/", class: "others" }, "All runs");
  const links = run && Object.entries(PAGES)
    .filter(([, [, , suits]]) => suits(run))
    .map(([name, [label]]) => h("a", { href: addressOf(run.run, name), "aria-current": name === page ? "page" : undefined }, label));
  document.getElementById("bar").replaceChildren(
    h("div", { class: "top" }, h("a", { href: "#/", class: "mark" }, "pixelmill"), run && h("span", { class: "name", title: run.uri }, run.name), others),
    h("nav", { "aria-label": "Pages", hidden: !run }, links || []),
  );
  const current = document.querySelector("#bar nav [aria-current]");
  if (current) current.scrollIntoView({ block: "nearest", inline: "center" });
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const signal = leaving.signal, main = document.getElementById("main"), wanted = address();
  const lightbox = document.getElementById("lightbox");
  if (lightbox.open) lightbox.close();
  main.setAttribute("aria-busy", "true");
  if (!main.firstChild) main.append(h("p", { class: "note" }, "reading\u2026"));
  let runs = [];
  try {
    ({ runs } = await ask("/api/runs", { signal }));
    const number = wanted.run ?? (runs.length === 1 ? 0 : null);
    if (number === null) {
      bar(null, runs, null);
      document.title = "pixelmill";
      await runsPage(main, runs, signal);
    } else {
      const run = await ask(`/api/runs/${number}`, { signal });
      const usual = run.kind === "curve" ? "curve" : "overview", page = wanted.page && PAGES[wanted.page][2](run) ? wanted.page : usual;
      bar(run, runs, page);
      document.title = `${PAGES[page][0]} \u2013 ${run.name} \u2013 pixelmill`;
      await PAGES[page][1](main, run, wanted.asked, signal);
    }
  } catch (error) {
    if (signal.aborted) return;
    if (!document.getElementById("bar").firstChild) bar(null, runs, null);
    main.replaceChildren(h("h1", {}, "This can't be shown"), problem(error));
  }
  if (signal.aborted) return;
  main.removeAttribute("aria-busy");
  document.body.dataset.shown = location.hash || "#/";
}

addEventListener("hashchange", show);
show();
