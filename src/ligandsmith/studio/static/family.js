// The family tree of an optimisation: rounds from left to right, lines from parents to children.
"use strict";

import { api } from "./api.js";
import { failed } from "./feedback.js";
import { show } from "./results.js";
import { byId, element } from "./shared/dom.js";
import { drawing } from "./sketch.js";
import { on, state } from "./store.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const STEP = { x: 92, y: 17 }, EDGE = 26;  // px
const MOST = 1500;  // ligands in a tree
let job = "";

function svg(tag, attributes, text) {
  const node = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

const optimisations = () => state.project.jobs.filter((each) => each.task === "optimise");

// Of all ligands, those that lead to a shown one; all where there are few.
function members(found) {
  if (found.length <= 200) return found;
  const known = new Map(found.map((each) => [each.id, each])), kept = new Set();
  for (let each of found.filter((one) => one.shown !== false)) {
    while (each && !kept.has(each.id)) { kept.add(each.id); each = known.get(each.parent); }
  }
  return found.filter((each) => kept.has(each.id)).slice(0, MOST);
}

function placed(family) {
  const rounds = new Map();
  return new Map(family.map((each) => {
    const place = rounds.get(each.round) || 0;
    rounds.set(each.round, place + 1);
    return [each.id, { ...each, x: EDGE + each.round * STEP.x, y: EDGE + 14 + place * STEP.y }];
  }));
}

function node(each, say) {
  const shown = each.shown !== false;
  const dot = svg("g", { class: `leaf${shown ? " shown" : ""}${each.id === state.current ? " current" : ""}`, transform: `translate(${each.x},${each.y})`, tabindex: "0", role: "button", "aria-label": `Ligand ${each.id}, ${each.move}, round ${each.round}` });
  dot.append(svg("circle", { r: shown ? "6" : "3.5" }), svg("circle", { r: "9", class: "hit" }));
  const open = () => { say(each); if (shown) show(each.id); };
  dot.addEventListener("click", open);
  dot.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
  dot.addEventListener("pointerenter", () => say(each));
  return dot;
}

function tree(family, say) {
  const places = placed(family), all = [...places.values()];
  const width = Math.max(...all.map((each) => each.x)) + EDGE + 20, height = Math.max(...all.map((each) => each.y)) + EDGE;
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "tree", role: "group", "aria-label": "Family tree" });
  for (const round of new Set(all.map((each) => each.round))) picture.append(svg("text", { x: EDGE + round * STEP.x, y: 16, "text-anchor": "middle" }, round ? `round ${round}` : "start"));
  for (const each of all) {
    const parent = places.get(each.parent);
    if (parent) picture.append(svg("path", { class: "branch", d: `M${parent.x},${parent.y}C${parent.x + 40},${parent.y} ${each.x - 40},${each.y} ${each.x},${each.y}` }));
  }
  for (const each of all) picture.append(node(each, say));
  return picture;
}

function chooser() {
  const select = element("select", { "aria-label": "Optimisation" }, ...optimisations().map((each) => element("option", { value: each.id, selected: each.id === job }, `job ${each.id}`)));
  select.addEventListener("change", () => { job = select.value; draw(); });
  return select;
}

async function draw() {
  if (state.layout !== "family") return;
  const place = byId("family");
  if (!optimisations().length) {
    place.replaceChildren(element("p", { class: "teach" }, "A family tree comes with an optimisation: choose the task “Optimise” on the left."));
    return;
  }
  if (!optimisations().some((each) => each.id === job)) job = optimisations().at(-1).id;
  try {
    const found = members(await api.get(`/api/projects/${state.id}/jobs/${job}/family`));
    const image = element("img", { alt: "", width: 150, height: 105, hidden: true });
    const text = element("div", {}, element("p", { class: "soft" }, "Point at a ligand to see it; large ones are in the list and open in 3D."));
    const say = async (each) => {
      text.replaceChildren(element("b", {}, each.id), element("p", {}, `${each.move}, round ${each.round}${each.parent ? `, from ${each.parent}` : ""}`), element("code", { class: "smiles" }, each.smiles));
      image.src = await drawing(each.smiles);
      image.hidden = !image.getAttribute("src");
    };
    place.replaceChildren(element("div", { class: "toolbar" }, chooser()), element("div", { class: "said" }, image, text),
      found.length ? element("div", { class: "scroll tree-frame" }, tree(found, say)) : element("p", { class: "teach" }, "No round has ended yet."));
  } catch (error) {
    failed(error);
  }
}

export function startFamily() {
  on("layout rows-new", draw);
  on("current", () => { if (state.layout === "family") byId("family").querySelectorAll(".leaf").forEach((leaf) => leaf.classList.toggle("current", leaf.getAttribute("aria-label").startsWith(`Ligand ${state.current},`))); });
}
