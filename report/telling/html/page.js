"use strict";
// The page: a table of the runs that is filtered, sorted and folded, and a view of each case, which
// the part behind the # of its address names. Words are only set as text; what becomes HTML
// is the page of a case, from which page.py has taken everything that could act.
(() => {
const data = JSON.parse(document.querySelector("script#data").textContent);
const LOOKS = Object.keys(data.looks);
const FILTERS = ["words", "verdict", "folder", "backend", "dtype"];
const CALM = ["unsupported"];
const FEW = 40; // rows that need no folding
const SHORT = 28; // letters of a cell that stay on one line
const WRONG = /^wrong( \d+\/\d+)?$/; // of a tensor at a failing step
const NO_FOLDER = "(no folder)";
const find = (selector) => document.querySelector(selector);
const home = find("div#home"), article = find("article#case"), form = find("form#filters");

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// ---------------------------------------------------------------- runs

const tone = (verdict) => verdict === "certified" ? "good" : CALM.includes(verdict) ? "calm" : "bad";
const GLYPHS = { good: "✓", calm: "○", bad: "✗" };
const RANKS = { bad: 0, calm: 1, good: 2 };
const unique = (values) => [...new Set(values)];
const counted = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
const linkTo = (name) => `#case=${encodeURIComponent(name).replaceAll("%2F", "/")}`;

const rows = []; // one a case and dtype
for (const item of data.cases) {
  const slash = item.name.lastIndexOf("/");
  item.folder = slash < 0 ? NO_FOLDER : item.name.slice(0, slash);
  for (const dtype of unique(item.runs.map((run) => run.dtype))) {
    const runs = item.runs.filter((run) => run.dtype === dtype);
    for (const run of runs) {
      const words = [item.name, item.title, dtype, run.backend, run.verdict, run.message];
      Object.assign(run, { folder: item.folder, text: words.join("\n").toLowerCase() });
    }
    rows.push({ item, dtype, runs, order: rows.length });
  }
}
const runs = rows.flatMap((row) => row.runs);
const BACKENDS = unique(runs.map((run) => run.backend));
const CASES = new Map(data.cases.map((item) => [item.name, item])), PAGES = new Map(data.cases.map((item) => [item.page, item]));
const state = { sort: "", open: new Set(), home: "#", scroll: 0 };

const rank = (some) => Math.min(...some.map((run) => RANKS[tone(run.verdict)]));
for (const folder of unique(rows.map((row) => row.item.folder))) {
  const inside = runs.filter((run) => run.folder === folder);
  if (rows.length <= FEW || rank(inside) < RANKS.good) state.open.add(folder);
}

function chosen() {
  const values = Object.fromEntries(FILTERS.map((name) => [name, form.elements[name].value.trim()]));
  const words = values.words.toLowerCase().split(/\s+/).filter(Boolean);
  const exact = FILTERS.slice(1).filter((name) => values[name]);
  const matches = (run) => exact.every((name) => run[name] === values[name]) && words.every((word) => run.text.includes(word));
  return { values, matches, any: words.length + exact.length > 0 };
}

function sorted(list, shown) {
  const by = state.sort.replace(/^-/, ""), sign = state.sort.startsWith("-") ? -1 : 1;
  const share = (run) => run.share ?? -1;
  const byWords = (words) => (a, b) => sign * words(a).localeCompare(words(b), "en", { numeric: true });
  const byRun = (a, b) => {
    const [one, other] = [a, b].map((row) => row.runs.find((run) => run.backend === by));
    if (!one || !other) return Boolean(other) - Boolean(one);
    return sign * (rank([other]) - rank([one]) || share(one) - share(other));
  };
  const known = new Map([
    ["", (a, b) => rank(shown(a)) - rank(shown(b))],
    ["case", byWords((row) => row.item.name)],
    ["dtype", byWords((row) => row.dtype)],
  ]);
  const compare = known.get(by) ?? byRun;
  return [...list].sort((a, b) => compare(a, b) || a.order - b.order);
}

function verdictOf(run, matches) {
  if (!run) return h("td", {}, "");
  const kind = tone(run.verdict), well = kind === "good";
  const at = !well && run.step !== null ? ` at step ${run.step.toLocaleString("en")}` : "";
  const told = [`${GLYPHS[kind]} `, h("span", {}, run.verdict + at)];
  const share = run.share === null ? null : h("span", { class: "used", title: "share of the rounding allowed" }, shareOf(run.share));
  return h("td", { class: matches(run) ? undefined : "other" }, h("span", { class: `verdict ${kind}` }, ...told), " ", share);
}

// Rounded down, so that no share below 1 is written as 1.
const shareOf = (share) => share < 100 ? (Math.floor(share * 100 + 1e-9) / 100).toFixed(2) : share.toExponential(1).replace("e+", "e");

function tableRows(row, before, columns, matches) {
  const shown = row.runs.filter(matches), kind = ["bad", "calm", "good"][rank(shown)];
  const again = before && before.item === row.item;
  const open = (event) => { if (!event.target.closest("a") && !String(getSelection())) location.hash = linkTo(row.item.name); };
  const cells = columns.map((backend) => verdictOf(row.runs.find((run) => run.backend === backend), matches));
  const link = h("a", { href: linkTo(row.item.name), title: row.item.title }, row.item.name);
  const line = h("tr", { class: `row ${kind}`, on: { click: open } }, h("td", { class: again ? "again" : undefined }, link), h("td", {}, row.dtype), ...cells);
  const reasons = shown.filter((run) => tone(run.verdict) !== "good" && run.message);
  if (!reasons.length) return [line];
  const told = reasons.map((run) => h("p", {}, h("b", {}, run.backend), ` ${run.message}`));
  return [line, h("tr", { class: "why" }, h("td", { colspan: columns.length + 2 }, ...told))];
}

function folderRow(folder, list, columns, matches, isOpen, any) {
  const inside = list.flatMap((row) => row.runs).filter(matches);
  const cells = columns.map((backend) => {
    const mine = inside.filter((run) => run.backend === backend);
    const well = mine.filter((run) => run.verdict === "certified").length;
    const kind = mine.length ? ["bad", "calm", "good"][rank(mine)] : "good";
    return h("td", {}, mine.length ? h("span", { class: `verdict ${kind}` }, `${GLYPHS[kind]} ${well} of ${mine.length}`) : "");
  });
  const toggle = () => { state.open[isOpen ? "delete" : "add"](folder); render(); find(`[data-folder="${CSS.escape(folder)}"]`)?.focus(); };
  const button = h("button", { type: "button", "aria-expanded": isOpen, "data-folder": folder, disabled: any && "", on: { click: toggle } }, folder);
  const cases = unique(list.map((row) => row.item.name)).length;
  return h("tr", { class: "folder" }, h("th", { scope: "rowgroup", colspan: 2 }, button, h("small", {}, counted(cases, "case"))), ...cells);
}

function headings(columns) {
  const next = (key) => ({ [key]: `-${key}`, [`-${key}`]: "" })[state.sort] ?? key;
  const heading = (key) => {
    const is = { [key]: "ascending", [`-${key}`]: "descending" }[state.sort];
    const sort = () => { state.sort = next(key); render(); remember(); find(`button[data-sort="${CSS.escape(key)}"]`).focus(); };
    const arrow = { ascending: " ↑", descending: " ↓" }[is] ?? "";
    return h("th", { scope: "col", "aria-sort": is }, h("button", { type: "button", "data-sort": key, on: { click: sort } }, key + arrow));
  };
  return h("tr", {}, ...["case", "dtype", ...columns].map(heading));
}

function render() {
  const { values, matches, any } = chosen(), columns = values.backend ? [values.backend] : BACKENDS;
  const shown = (row) => row.runs.filter(matches);
  const list = sorted(rows.filter((row) => shown(row).length), shown), bodies = [];
  const lines = (some) => some.flatMap((row, i) => tableRows(row, some[i - 1], columns, matches));
  const folders = state.sort ? [] : unique(list.map((row) => row.item.folder));
  for (const folder of folders) {
    const inside = list.filter((row) => row.item.folder === folder), isOpen = any || state.open.has(folder);
    bodies.push(h("tbody", { class: "grouped" }, folderRow(folder, inside, columns, matches, isOpen, any), ...(isOpen ? lines(inside) : [])));
  }
  if (state.sort) bodies.push(h("tbody", {}, ...lines(list)));
  if (!list.length) bodies.push(h("tbody", {}, h("tr", {}, h("td", { colspan: columns.length + 2 }, "No run is like that."))));
  find("table#matrix").replaceChildren(h("thead", {}, headings(columns)), ...bodies);
  const number = list.flatMap(shown).length;
  find("output#count").textContent = any ? `${number.toLocaleString("en")} of ${counted(runs.length, "run")} shown` : `${counted(runs.length, "run")} of ${counted(data.cases.length, "case")}`;
  const fold = find("button#fold"), all = folders.every((folder) => state.open.has(folder));
  fold.hidden = any || !folders.length;
  fold.textContent = all ? "Fold all" : "Unfold all";
  fold.onclick = () => { state.open = new Set(all ? [] : folders); render(); };
}

function remember() {
  const { values } = chosen(), told = FILTERS.filter((name) => values[name]).map((name) => [name, values[name]]);
  if (state.sort) told.push(["sort", state.sort]);
  state.home = `#${told.map((pair) => pair.map(encodeURIComponent).join("=")).join("&")}`;
  history.replaceState(null, "", state.home);
}

// ---------------------------------------------------------------- a case

function showCase(item) {
  const at = data.cases.indexOf(item);
  const neighbour = (other, arrow) => other && h("a", { href: linkTo(other.name) }, `${arrow} ${other.name}`);
  const beside = h("span", {}, neighbour(data.cases[at - 1], "↑"), neighbour(data.cases[at + 1], "↓"));
  const nav = h("nav", { "aria-label": "Cases" }, h("a", { href: state.home }, "← All runs"), beside);
  const page = [...document.querySelectorAll("script[data-case]")].find((one) => one.dataset.case === item.name);
  const body = h("div", {});
  body.innerHTML = page.textContent;
  if (!body.querySelector("h1")) body.prepend(h("h1", {}, item.name));
  const [place, ...others] = body.querySelectorAll("[data-figure]");
  others.forEach((other) => other.remove());
  const figure = item.figure && window.drawnFigure(item.figure, place?.dataset.figure || `${item.name} over its steps`, data.looks);
  const frame = place?.closest("p") ?? place;
  if (frame && figure) frame.replaceWith(figure);
  else if (figure) body.querySelector("h1").after(figure);
  else place?.remove();
  const told = unique(item.runs.map((run) => run.verdict)).filter((verdict) => tone(verdict) !== "good");
  for (const cell of body.querySelectorAll("td")) {
    const words = cell.textContent, verdict = told.find((one) => words === one || words.startsWith(`${one} `));
    const kind = verdict ? tone(verdict) : WRONG.test(words) ? "bad" : null;
    cell.classList.toggle("short", words.length <= SHORT);
    if (kind) cell.replaceChildren(h("span", { class: `verdict ${kind}` }, `${GLYPHS[kind]} `, ...cell.childNodes));
  }
  article.replaceChildren(nav, body);
  article.querySelector("h1").tabIndex = -1;
}

function route() {
  const pairs = location.hash.slice(1).split("&").map((part) => part.split("=").map((text) => { try { return decodeURIComponent(text); } catch { return text; } }));
  const asked = Object.fromEntries(pairs.map(([name, ...value]) => [name, value.join("=")]));
  const item = CASES.get(asked.case) ?? PAGES.get(asked.page), wasHome = !home.hidden;
  if (item && wasHome) state.scroll = scrollY;
  home.hidden = Boolean(item);
  article.hidden = !item;
  find("nav#sections").hidden = Boolean(item);
  document.title = item ? `${item.name} · backproof report` : "backproof report";
  if (item) {
    history.replaceState(null, "", linkTo(item.name));
    showCase(item);
    scrollTo(0, 0);
    return article.querySelector("h1").focus({ preventScroll: true });
  }
  const target = pairs.length === 1 && pairs[0].length === 1 && pairs[0][0] && document.getElementById(pairs[0][0]);
  if (!target) {
    for (const name of FILTERS) form.elements[name].value = asked[name] ?? "";
    state.sort = ["case", "dtype", ...BACKENDS].includes(asked.sort?.replace(/^-/, "")) ? asked.sort : "";
    state.home = location.hash || "#";
    render();
  }
  if (target) target.scrollIntoView();
  else if (!wasHome) scrollTo(0, state.scroll);
}

// ---------------------------------------------------------------- the whole

function fill(name, values) {
  form.elements[name].append(h("option", { value: "" }, "all"), ...values.map((value) => h("option", { value }, value)));
}
fill("verdict", unique(runs.map((run) => run.verdict)).sort((a, b) => RANKS[tone(a)] - RANKS[tone(b)]));
fill("folder", unique(runs.map((run) => run.folder)));
fill("backend", BACKENDS);
fill("dtype", unique(runs.map((run) => run.dtype)));
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => { render(); remember(); });
form.addEventListener("reset", () => setTimeout(() => { render(); remember(); }));

const intro = find("div#overview"); // what stands before its headings belongs above the table
while (intro.firstElementChild && intro.firstElementChild.tagName !== "H2") find("#runs > .note").before(intro.firstElementChild);
for (const heading of document.querySelectorAll("#runs > h2, #overview > h2")) {
  const go = (event) => { event.preventDefault(); heading.scrollIntoView(); };
  find("nav#sections").append(h("a", { href: `#${heading.id}`, on: { click: go } }, heading.textContent));
}
article.addEventListener("click", (event) => { // a link inside of the page of a case
  const link = event.target.closest('a[href^="#"]')?.getAttribute("href").slice(1);
  const target = link && [...article.querySelectorAll("[id]")].find((one) => one.id === decodeURIComponent(link));
  if (target) { event.preventDefault(); target.scrollIntoView(); }
});
const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const kept = (act) => { try { return act(localStorage); } catch { return null; } };
const theme = kept((store) => store.getItem("backproof-theme"));
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
find("button#theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  kept((store) => store.setItem("backproof-theme", document.documentElement.dataset.theme));
});
find("h1.sentence").classList.toggle("bad", rank(runs) === RANKS.bad || !data.well);
find("section#runs").hidden = false;
history.scrollRestoration = "manual";
addEventListener("hashchange", route);
route();
})();
