// The page: what the user composes goes to the service, what comes back is shown by kind.

import { card } from "./card.js";
import { element, icon } from "./element.js";
import { Query } from "./query.js";
import { recorder } from "./recorder.js";
import * as service from "./service.js";

const KINDS = [["image", "Pictures"], ["audio", "Sounds"], ["point_cloud", "Shapes"], ["text", "Texts"]];
const FEW = 6;
const MANY = 48;

const at = (id) => document.getElementById(id);
const [box, text, notice, summary, results] = ["box", "text", "notice", "summary", "results"].map(at);
const query = new Query(at("parts"), () => run());
let running = null;

// Composing

const targets = () => KINDS.map(([kind]) => kind).filter((kind) => at("targets").querySelector(`[value=${kind}]:checked`));

/** The parts in the box, with the text that is still being typed. */
function composed() {
  const typed = text.value.trim();
  return typed ? [...query.parts, { text: typed, name: typed, weight: 1 }] : [...query.parts];
}

/** Typed text becomes a part of its own, which can be weighed. */
function keepTyped() {
  const typed = text.value.trim();
  if (typed) query.addText(typed);
  text.value = "";
}

function takeFiles(files) {
  if (!files.length) return;
  for (const file of files) query.addFile(file);
  run();
}

function searchBy(item) {
  query.clear();
  text.value = "";
  query.addPoint(item);
  run();
  scrollTo({ top: 0, behavior: "smooth" });
}

const actions = {
  more: searchBy,
  add: (item) => {
    keepTyped();
    query.addPoint(item);
    run();
  },
};

// Searching

/** Search with what is composed; with nothing, show what is stored. */
async function run(quota = FEW) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const [parts, kinds] = [composed(), targets()];
  say(null);
  if (!kinds.length) {
    results.replaceChildren();
    summary.textContent = "Choose at least one kind to find.";
    return;
  }
  wait(true);
  try {
    await (parts.length ? find(parts, kinds, quota, signal) : browse(kinds, quota, signal));
  } catch (error) {
    if (error.name === "AbortError") return;
    say(error);
    summary.textContent = "";
    results.replaceChildren();
  } finally {
    if (!signal.aborted) wait(false);
  }
}

async function find(parts, kinds, quota, signal) {
  const { hits, warnings, timing_ms: timing } = await service.search(parts, { targets: kinds, quota, signal });
  if (warnings) say(warnings.flatMap((each) => limits(each, "what is found has nothing to do with it")).join("\n"));
  const groups = kinds.map((kind) => hits.filter((hit) => hit.modality === kind));
  results.replaceChildren(...kinds.flatMap((kind, i) => section(kind, groups[i], null, quota, kinds)));
  const took = timing?.total === undefined ? "" : ` in ${Math.round(timing.total)} ms`;
  summary.textContent = hits.length
    ? `${hits.length} ${hits.length === 1 ? "result" : "results"}${took}, nearest first`
    : "Nothing found. Is there anything of these kinds in the index?";
}

async function browse(kinds, quota, signal) {
  const pages = await Promise.all(kinds.map((kind) => service.stored(kind, quota, signal)));
  const total = pages.reduce((sum, page) => sum + page.count, 0);
  results.replaceChildren(...kinds.flatMap((kind, i) => section(kind, pages[i].points, pages[i].count, quota, kinds)));
  if (total) {
    summary.textContent = `${total} items in the index`;
    return;
  }
  summary.textContent = "";
  results.replaceChildren(
    element("p", { class: "empty" }, "The index is empty. Drop files here or type a text, then ", element("strong", {}, "Add to the index"), "."),
  );
}

/** A heading and the cards of one kind; nothing where there are none. */
function section(kind, items, count, quota, kinds) {
  if (!items.length) return [];
  const label = KINDS.find(([each]) => each === kind)[1];
  const all = () => {
    for (const input of at("targets").querySelectorAll("input")) input.checked = input.value === kind;
    run(MANY);
  };
  const more = quota === FEW && items.length === quota && (count === null || count > quota);
  const heading = element(
    "h2", {}, icon(kind), label,
    count === null ? null : element("span", { class: "count" }, String(count)),
    more ? element("button", { type: "button", class: "quiet", onclick: all }, "See more") : null,
  );
  const cards = element("div", { class: "cards" }, ...items.map((item) => card(item, actions)));
  return [element("section", { "aria-label": label, "data-kind": kind, class: kinds.length === 1 ? "only" : "" }, heading, cards)];
}

// Storing

async function keep() {
  const parts = composed().filter((part) => part.id === undefined);
  if (!parts.length) {
    say("There is nothing to add: drop a file or type a text first.");
    return;
  }
  wait(true);
  say(null);
  try {
    const { items } = await service.store(parts);
    const kept = items.filter((item) => !item.error && item.status !== "not_stored");
    const points = await Promise.all(kept.map((item) => service.point(item.id)));
    query.clear();
    text.value = "";
    const fresh = kept.filter((item) => item.status !== "unchanged").length;
    const known = kept.length - fresh;
    const there = known ? ` (${known} ${known === 1 ? "was" : "were"} there already)` : "";
    summary.textContent = `Added ${fresh} ${fresh === 1 ? "item" : "items"} to the index${there}`;
    const cards = element("div", { class: "cards" }, ...points.map((item) => card(item, actions)));
    results.replaceChildren(element("section", { "aria-label": "Added", "data-kind": "added" }, element("h2", {}, "Added"), cards));
    const told = [...service.itemErrors(items), ...items.flatMap((item) => limits(item, "it was not added"))];
    if (told.length) say(told.join("\n"));
  } catch (error) {
    say(error);
  } finally {
    wait(false);
  }
}

// Telling

/** Sentences on what the encoder did not read or know of a text; `outcome` ends the one on a text it does not know. */
function limits({ truncated, understood }, outcome) {
  const told = [];
  if (truncated) told.push(`Of a text's ${truncated.given} tokens the encoder read the first ${truncated.used}.`);
  if (understood === false) told.push(`The encoder knows no word of a text: ${outcome}.`);
  return told;
}

/** Show an error (a message, or a ServiceError with one for each item), or take it away. */
function say(problem) {
  notice.hidden = problem === null;
  if (problem === null) return;
  const lines = typeof problem === "string" ? problem.split("\n") : [problem.message, ...service.itemErrors(problem.items ?? [])];
  notice.replaceChildren(...[...new Set(lines)].map((line) => element("p", {}, line)));
}

function wait(busy) {
  results.setAttribute("aria-busy", String(busy));
  box.classList.toggle("busy", busy);
}

async function watch() {
  const known = await service.readiness();
  const ready = known.status === "ready";
  at("state").textContent = ready ? `${known.bundle} bundle · ready` : known.status;
  at("state").classList.toggle("ready", ready);
  if (!ready) {
    setTimeout(watch, 1000);
    return;
  }
  for (const input of at("targets").querySelectorAll("input")) {
    if (known.modalities && !known.modalities.includes(input.value)) input.disabled = !(input.checked = false);
  }
  run();
}

// Wiring

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (query.parts.length) keepTyped();
  run();
});
text.addEventListener("input", () => { if (!text.value && !query.parts.length) run(); });
at("targets").addEventListener("change", () => run());
at("store").addEventListener("click", keep);
at("choose").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", (event) => { takeFiles([...event.target.files]); event.target.value = ""; });
for (const example of at("examples").querySelectorAll("button")) {
  example.addEventListener("click", () => { query.clear(); text.value = example.textContent; run(); });
}
recorder(at("record"), (file) => takeFiles([file]), say);

let entered = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => { if (carriesFiles(event)) { entered += 1; at("veil").hidden = false; } });
addEventListener("dragleave", (event) => { if (carriesFiles(event) && (entered -= 1) <= 0) at("veil").hidden = true; });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  entered = 0;
  at("veil").hidden = true;
  takeFiles([...(event.dataTransfer?.files ?? [])]);
});
addEventListener("paste", (event) => takeFiles([...(event.clipboardData?.files ?? [])]));

watch();

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
at("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
});
