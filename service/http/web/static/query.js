// The query: its parts (files, texts, stored points), each with a weight, and how they are shown.

import { title } from "./card.js";
import { element, icon } from "./element.js";

const KINDS = [
  ["image", /^image\//, /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic)$/i],
  ["audio", /^(audio|video)\//, /\.(wav|flac|ogg|opus|mp3|m4a|webm|mp4|aac)$/i],
  ["point_cloud", /^model\//, /\.(npy|npz|ply|pcd|xyz|las|laz|off|obj|stl|glb|pts)$/i],
  ["text", /^text\//, /\.txt$/i],
];

/** What a file seems to be, for its icon; the service looks at its bytes. */
function kindOf(file) {
  const known = KINDS.find(([, , suffix]) => suffix.test(file.name)) ?? KINDS.find(([, type]) => type.test(file.type));
  return known ? known[0] : "file";
}

/** The parts of a query; `changed` is called when the user takes one away or weighs it anew. */
export class Query {
  constructor(list, changed) {
    this.parts = [];
    this.list = list;
    this.changed = changed;
  }

  addFile(file) {
    this.#add({ file, name: file.name, kind: kindOf(file) });
  }

  addText(text) {
    this.#add({ text, name: text, kind: "text" });
  }

  addPoint(item) {
    if (this.parts.some((part) => part.id === item.id)) return;
    this.#add({ id: item.id, name: title(item), kind: item.modality });
  }

  clear() {
    this.parts = [];
    this.#show();
  }

  #add(part) {
    this.parts.push({ ...part, weight: 1 });
    this.#show();
  }

  #show() {
    this.list.hidden = this.parts.length === 0;
    this.list.replaceChildren(...this.parts.map((part) => this.#chip(part)));
  }

  #chip(part) {
    const value = element("output", {}, weightText(part.weight));
    const slider = element("input", {
      type: "range", min: -1, max: 2, step: 0.1, value: part.weight,
      "aria-label": `Weight of ${part.name}`, title: "Weight: below zero steers away from it",
      oninput: () => {
        part.weight = Number(slider.value);
        value.textContent = weightText(part.weight);
      },
      onchange: () => this.changed(),
    });
    const remove = element("button", {
      type: "button", class: "icon", "aria-label": `Remove ${part.name}`,
      onclick: () => {
        this.parts.splice(this.parts.indexOf(part), 1);
        this.#show();
        this.changed();
      },
    }, icon("close"));
    const name = element("span", { class: "name", title: part.name }, part.id === undefined ? part.name : `like: ${part.name}`);
    const weight = this.parts.length > 1 || part.weight !== 1 ? [slider, value] : [];
    return element("li", { class: "part" }, icon(part.kind), name, ...weight, remove);
  }
}

const weightText = (weight) => `${weight < 0 ? "−" : "×"}${Math.abs(weight).toFixed(1)}`;
