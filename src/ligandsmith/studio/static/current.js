// What is known of the molecule that is shown in 3D: numbers, contacts, note, and what to do with it next.
"use strict";

import { failed, toast } from "./feedback.js";
import { contactsOf, nameOf, pictureOf } from "./molecules.js";
import { better, change, failures, passes, rowOf, shownColumns, source, star } from "./results.js";
import { kindOf } from "./scene.js";
import { byId, element, format } from "./shared/dom.js";
import { on, state } from "./store.js";
import { startFrom } from "./task.js";
import { TASKS } from "./tasks.js";

const MOST_NUMBERS = 7;
let shown = "";

function button(text, act, css = "small") {
  const node = element("button", { type: "button", class: css }, text);
  node.addEventListener("click", act);
  return node;
}

function noteBox(row) {
  const box = element("textarea", { rows: "1", placeholder: "Note", "aria-label": `Note on molecule ${row.id}`, value: row.note });
  box.addEventListener("change", () => change(row.id, { note: box.value }).catch(failed));
  return box;
}

function nextTask(id) {
  const select = element("select", { "aria-label": `Use ${nameOf(id)} as the start of` }, element("option", { value: "" }, "Use as start ▸"),
    ...Object.entries(TASKS).filter(([, task]) => task.from).map(([name, { label }]) => element("option", { value: name }, label)));
  select.addEventListener("change", () => {
    if (!select.value) return;
    startFrom([id], select.value);
    toast(`${TASKS[select.value].label} starts from ${nameOf(id)}.`);
    document.body.dataset.tab = "design";
  });
  return select;
}

async function contacts(id, place) {
  const found = await contactsOf(id).catch(() => []);
  const grouped = new Map();
  for (const { kind, residue } of found) grouped.set(kindOf(kind)[0], new Set([...(grouped.get(kindOf(kind)[0]) || []), residue]));
  place.replaceChildren(...[...grouped].flatMap(([name, residues], k) => [k ? " · " : "", element("b", {}, name), ` ${[...residues].join(", ")}`]));
  if (!found.length) place.textContent = "No interaction with the protein was found.";
}

function drawReference() {
  const { reference } = state.project;
  byId("current").hidden = false;
  const lines = element("p", { class: "soft contacts" });
  byId("current").replaceChildren(element("div", { class: "current-head" }, element("img", { src: pictureOf("reference"), alt: "", width: 110, height: 77 }),
    element("div", { class: "current-text" }, element("b", {}, "Reference ligand"), element("code", { class: "smiles" }, reference.smiles), lines), element("div", { class: "current-tools" }, nextTask("reference"))));
  contacts("reference", lines);
}

function draw() {
  const id = state.current;
  if (shown === id && document.activeElement?.matches("#current textarea")) return undefined;  // a note is being written
  shown = id;
  if (id === "reference" && state.project.reference) return drawReference();
  const row = id ? rowOf(id) : null;
  byId("current").hidden = !row && !source.total;
  if (!row) {
    byId("current").replaceChildren(element("p", { class: "soft" }, source.total ? "Choose a molecule in the list, or press →." : ""));
    return undefined;
  }
  const [first, rest] = [shownColumns().slice(0, MOST_NUMBERS), shownColumns().slice(MOST_NUMBERS)].map((columns) => columns.filter((column) => typeof row.values[column.name] === "number").map((column) => element("div", {}, element("dt", {}, `${column.label}${better(column)}`), element("dd", {}, format(row.values[column.name], column.unit, column.decimals)))));
  const lines = element("p", { class: "soft contacts" });
  const starred = button(row.starred ? "★" : "☆", () => star(row), `star${row.starred ? " on" : ""}`);
  starred.setAttribute("aria-label", "Star this molecule");
  byId("current").replaceChildren(element("div", { class: "current-head" }, element("img", { src: pictureOf(id), alt: `Structure of molecule ${id}`, width: 110, height: 77 }),
    element("div", { class: "current-text" }, element("div", { class: "card-head" }, element("b", {}, id), passes(row), starred, element("code", { class: "smiles", title: row.smiles }, row.smiles)),
      element("dl", {}, ...first), row.ok === false ? element("p", { class: "bad" }, `Fails ${failures(row)}`) : null, lines, rest.length ? element("details", {}, element("summary", {}, "All numbers"), element("dl", {}, ...rest)) : null),
    element("div", { class: "current-tools" }, nextTask(id), noteBox(row))));
  contacts(id, lines);
  return undefined;
}

export function startCurrent() {
  on("current rows rows-new project", draw);
}
