// A card for one stored item: its media, what it is called, how near it is, and what to do with it.

import { cloudView } from "./cloud_view.js";
import { element, icon } from "./element.js";
import { cloud } from "./service.js";
import { soundView } from "./sound_view.js";

const CLOUD_POINTS = 3000;

/** What an item is called: its caption, its text, its file name, or its id. */
export function title(item) {
  const { caption, title: named, name } = item.metadata ?? {};
  const words = [item.caption, caption, named, item.text, item.name, name].find((each) => typeof each === "string" && each.trim());
  return words ?? item.id;
}

/** The card of a hit or a stored point; `more` searches by it, `add` makes it a part of the query. */
export function card(item, { more, add }) {
  const name = title(item);
  const called = item.modality === "text" ? null : element("h3", { title: name }, name);
  const like = element("button", { type: "button", class: "quiet", "aria-label": `More like ${name}`, onclick: () => more(item) }, "More like this");
  const plus = element("button", { type: "button", class: "icon", "aria-label": `Add ${name} to the query`, title: "Add to the query", onclick: () => add(item) }, icon("plus"));
  const made = element(
    "article",
    { class: `card ${item.modality}`, "data-id": item.id, "data-modality": item.modality },
    shown(item, name),
    element("div", { class: "about" }, called, nearness(item), element("div", { class: "actions" }, like, plus)),
  );
  return made;
}

function nearness(item) {
  if (item.score === undefined) return null;
  const bar = element("span", { class: "bar" });
  bar.style.setProperty("--share", String(Math.max(0, Math.min(1, item.score))));
  const explained = "score: calibrated across kinds, 0 to 1; cos: raw cosine of the vectors";
  return element(
    "p",
    { class: "nearness", title: explained },
    bar,
    element("span", { class: "score" }, item.score.toFixed(2)),
    element("span", { class: "cosine" }, `cos ${item.cosine.toFixed(3)}`),
  );
}

function shown(item, name) {
  if (item.modality === "text") return element("blockquote", { class: "shown" }, item.text ?? name);
  const frame = element("div", { class: "shown" });
  if (!item.media_url) frame.append(element("p", { class: "none" }, "no media kept"));
  else if (item.modality === "image") frame.append(picture(item, name));
  else if (item.modality === "audio") frame.append(soundView(item.media_url, name));
  else drawCloud(frame, item, name);
  return frame;
}

function picture(item, name) {
  const joint = item.media_url.includes("?") ? "&" : "?";
  return element("img", { src: `${item.media_url}${joint}size=384`, alt: name, loading: "lazy", decoding: "async" });
}

function drawCloud(frame, item, name) {
  frame.classList.add("waiting");
  cloud(item.id, CLOUD_POINTS)
    .then((points) => frame.append(cloudView(points, `${name}, a 3D shape`)))
    .catch((error) => frame.append(element("p", { class: "none" }, error.message)))
    .finally(() => frame.classList.remove("waiting"));
}
