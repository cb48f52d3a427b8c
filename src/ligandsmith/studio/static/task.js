// The form of a task, its equivalent command line, and the button that starts it.
"use strict";

import { api } from "./api.js";
import { debounced, failed, toast } from "./feedback.js";
import { lasso } from "./lasso.js";
import { nameOf, pictureOf } from "./molecules.js";
import { kindsOf, require, said } from "./popover.js";
import { parsed, scene, setMode, toggleAtoms } from "./scene.js";
import { byId, element } from "./shared/dom.js";
import { sketch } from "./sketch.js";
import { emit, on, state } from "./store.js";
import { completes, fields, missing, OBJECTIVES, sources, TASKS, values, WEIGHTS, weightOf } from "./tasks.js";

const CHECKED_AFTER = 250;  // ms
const path = (rest) => `/api/projects/${state.id}/${rest}`;

function button(text, act, css = "small") {
  const node = element("button", { type: "button", class: css }, text);
  node.addEventListener("click", act);
  return node;
}

// Whether the choice of a task asks for atoms at once.
function picks(task) {
  const { atoms } = TASKS[task];
  return Boolean(atoms && !atoms.optional);
}

// Atoms that were picked for another purpose are forgotten.
function setTask(task) {
  const [before, after] = [state.task, task].map((name) => (TASKS[name].atoms || { field: "" }).field);
  if (before !== after) state.atoms = [];
  state.task = task;
}

function chip(text, remove, label) {
  const close = element("button", { type: "button", "aria-label": `Remove ${label || text}` }, "×");
  close.addEventListener("click", remove);
  return element("span", { class: "chip" }, text, close);
}

function field(label, node, css = "row") {
  return element("label", { class: css }, element("span", {}, label), node);
}

function input(name, attributes) {
  const node = element("input", { ...attributes, id: `field-${name}`, name, value: String(values[name]) });
  node.addEventListener("input", () => { values[name] = node.type === "number" && name in { num: 1, seed: 1 } ? Number(node.value) : node.value; command(); });
  return node;
}

function tick(name, text) {
  const box = element("input", { type: "checkbox", checked: values[name], name });
  box.addEventListener("change", () => { values[name] = box.checked; command(); });
  return element("label", { class: "check" }, box, text);
}

// --- parts of the form

function chooser() {
  const select = element("select", { id: "field-task", "aria-label": "Task" }, ...Object.entries(TASKS).map(([name, { label }]) => element("option", { value: name, selected: name === state.task }, label)));
  select.addEventListener("change", () => {
    setTask(select.value);
    setMode(picks(state.task) ? "atoms" : "");
    emit("task");
    byId("field-task").focus();
  });
  return element("div", {}, select, element("p", { class: "soft" }, TASKS[state.task].hint));
}

function start() {
  const { from, atoms } = TASKS[state.task];
  if (!from) return [];
  const chosen = from === "many" ? sources() : state.from.slice(0, 1);
  const cards = chosen.slice(0, 6).map((id) => element("figure", { class: "source" }, picture(id), element("figcaption", {}, nameOf(id))));
  const more = chosen.length > 6 ? [element("p", { class: "soft" }, `and ${chosen.length - 6} more`)] : [];
  const parts = [element("h3", {}, "Starts from"), element("div", { class: "sources" }, ...cards, ...more)];
  const choices = [];
  if (state.current && state.current !== chosen[0] && from === "one") choices.push(button(`Use ${nameOf(state.current)}`, () => startFrom([state.current])));
  if (chosen[0] !== "reference" && state.project.reference && !(from === "many" && state.ticked.size)) choices.push(button("Use the reference ligand", () => startFrom(["reference"])));
  if (from === "many") parts.push(element("p", { class: "soft" }, state.ticked.size ? "The ticked molecules." : "Tick molecules in the list to start from several."));
  if (choices.length) parts.push(element("div", { class: "toolbar" }, ...choices));
  return atoms ? [...parts, ...atomsPart()] : parts;
}

function picture(id) {
  const known = id !== "reference" || state.project.reference;
  return known ? element("img", { src: pictureOf(id), alt: `Structure of ${nameOf(id)}`, loading: "lazy" }) : element("p", { class: "soft" }, "There is no reference ligand. Choose a molecule in the list.");
}

export function startFrom(ids, task = state.task) {
  if (state.from.join() !== ids.join()) state.atoms = [];
  state.from = ids;
  setTask(task);
  setMode(picks(task) ? "atoms" : "");
  emit("task");
}

function atomsPart() {
  const on = state.mode === "atoms";
  const chips = state.atoms.map((n) => chip(`atom ${n}`, () => toggleAtoms([n])));
  const pick = button(on ? "Done picking" : "Pick atoms in 3D", () => setMode(on ? "" : "atoms"), on ? "small primary" : "small");
  const typed = element("input", { type: "text", placeholder: "or type 3, 7, 12", "aria-label": "Numbers of atoms" });
  typed.addEventListener("change", () => toggleAtoms(typed.value.split(/[\s,]+/).map(Number).filter((n) => Number.isInteger(n) && n > 0)));
  const { title, none } = TASKS[state.task].atoms;
  return [element("h3", {}, title), element("div", { class: "chips" }, ...(chips.length ? chips
    : [element("span", { class: "soft" }, none)])),
    element("div", { class: "toolbar" }, pick, button("Lasso", () => { setMode("atoms"); lasso(); }), typed)];
}

function demands() {
  const site = scene.site ? scene.site.residues : [];
  const residue = element("select", { "aria-label": "Residue" }, element("option", { value: "" }, "residue…"), ...site.map((name) => element("option", { value: name }, name)));
  residue.addEventListener("change", () => { if (residue.value) require(kindsOf((parsed(residue.value) || {}).resn || "")[0], residue.value); });
  const wanted = state.require.map((text, k) => requirement(text, k));
  const avoided = state.exclude.map((region, k) => chip(`${region[3]} Å around ${region.slice(0, 3).map((x) => x.toFixed(1)).join(", ")}`, () => {
    state.exclude = state.exclude.filter((_, other) => other !== k);
    emit("task");
  }));
  return [element("h3", {}, "Require an interaction"), element("div", { class: "chips" }, ...wanted), element("div", { class: "toolbar" }, residue, element("span", { class: "soft" }, "or click a residue in 3D")),
    element("h3", {}, "Avoid a region"), element("div", { class: "chips" }, ...avoided), element("p", { class: "soft" }, "Shift-click in 3D where no atom may lie.")];
}

function requirement(text, k) {
  const [kind, residue] = text.split(" ");
  const name = (parsed(residue.split(":").slice(0, 2).join(":")) || {}).resn || "";
  const put = (value) => { state.require = state.require.flatMap((other, place) => (place === k ? value : [other])); emit("task"); };
  const select = element("select", { "aria-label": `Kind of interaction with ${residue}` }, ...[...new Set([kind, ...kindsOf(name), "hbond", "pi", "salt", "contact", "metal"])].map((each) => element("option", { value: each, selected: each === kind }, said(each))));
  select.addEventListener("change", () => put([`${select.value} ${select.value === "hbond" ? residue : residue.split(":").slice(0, 2).join(":")}`]));
  const node = chip("", () => put([]), text);
  node.prepend(select, ` ${residue}`);
  return node;
}

function objectives() {
  const sliders = OBJECTIVES.filter(({ only }) => !only || only === state.task).map(({ name, label, better }) => {
    const slider = element("input", { type: "range", min: "0", max: "2", step: "0.1", value: String(weightOf(name)), "aria-label": `Weight of ${label}`, name: `weight-${name}` });
    const said_ = element("output", {}, weightOf(name) ? String(weightOf(name)) : "off");
    slider.addEventListener("input", () => { values.weights[name] = Number(slider.value); said_.textContent = Number(slider.value) ? slider.value : "off"; command(); });
    return element("label", { class: "slider" }, element("span", {}, `${label} ${better === "lower" ? "↓" : "↑"}`), slider, said_);
  });
  return [element("h3", {}, "Objectives"), element("p", { class: "soft" }, state.task === "optimise" ? "What better means; arrows say which way." : "What decides between plausible candidates. Off: none."), ...sliders];
}

function patterns(name, text) {
  const chips = values[name].map((smarts, k) => chip(smarts, () => { values[name].splice(k, 1); emit("task"); }));
  const add = button("Draw or type", () => sketch(`${text}: a substructure`, "", (smarts) => { values[name].push(smarts); emit("task"); }));
  return element("div", {}, element("span", {}, text), element("div", { class: "chips" }, ...chips, add));
}

function size() {
  const optimise = state.task === "optimise";
  const weights = element("select", { id: "field-checkpoint", disabled: completes(), title: completes() ? "The tiny weights cannot complete a part of a molecule, nor place one that makes an interaction." : "" }, ...Object.entries(WEIGHTS).map(([name, text]) => element("option", { value: name, selected: !completes() && values.checkpoint === name }, text)));
  weights.addEventListener("change", () => { values.checkpoint = weights.value; command(); });
  const rows = [element("h3", {}, "How many"), element("div", { class: "pair" }, field(optimise ? "Kept" : "Number", input("num", { type: "number", min: "1", max: "100000" })), field("Seed", input("seed", { type: "number", min: "0" })))];
  if (optimise) rows.push(field("Budget", input("budget", { type: "text", title: "Ligands that are sampled, or a time such as 10min" })));
  if (["optimise", "analogues"].includes(state.task)) rows.push(similarity());
  if (state.task !== "analogues") rows.push(field("Heavy atoms", input("num_atoms", { type: "text", placeholder: "by the site, or 18-26" })));
  return [...rows, field("Weights", weights)];
}

function similarity() {
  const boxes = [0, 1].map((k) => {
    const box = element("input", { type: "number", min: "0", max: "1", step: "0.05", value: String(values.similarity[k]), placeholder: ["0.5", "0.8"][k], "aria-label": ["Least similarity", "Greatest similarity"][k] });
    box.addEventListener("input", () => { values.similarity[k] = box.value; command(); });
    return box;
  });
  return element("div", { class: "row" }, element("span", {}, "Similarity"), boxes[0], "to", boxes[1]);
}

function more() {
  const number = (name, label, step) => field(label, input(name, { type: "number", step, placeholder: "any" }));
  return element("details", { id: "more", open: state.more || false }, element("summary", {}, "More constraints"),
    tick("no_alerts", "No structural alerts (BRENK)"), tick("rings", "Known ring systems only"), tick("steer", "Steer by Vina while sampling"),
    element("div", { class: "pair" }, number("qed", "QED", "0.05"), number("sa", "SA", "0.1"), number("logp", "logP", "0.1")),
    patterns("forbid", "Forbid"), patterns("require_smarts", "Contain"));
}

function draw() {
  const focused = document.activeElement ? document.activeElement.id : "";
  const extra = more();
  extra.addEventListener("toggle", () => { state.more = extra.open; });
  byId("task").replaceChildren(chooser(), ...start(), ...size(), ...demands(), ...objectives(), extra);
  byId("make").textContent = TASKS[state.task].make;
  if (focused.startsWith("field-") && byId(focused)) byId(focused).focus();
  command();
}

// --- command and start

let asked = 0;

// Words that do not break, so that a flag stays in one line.
const words = (text) => text.split(" ").flatMap((word) => [element("span", {}, word), " "]).slice(0, -1);

async function check() {
  asked += 1;
  const mine = asked;
  let problem = missing(), text = "";
  if (!problem) {
    const answer = await api.post(`${path("jobs")}?dry_run=true`, { task: state.task, fields: fields() }).catch((error) => ({ problem: error.message }));
    ({ command: text = "", problem = "" } = answer);
  }
  if (mine !== asked) return;
  byId("command").replaceChildren(...words(text));
  byId("make").disabled = Boolean(problem);
  byId("copy").disabled = Boolean(problem);
  byId("task-problem").textContent = problem;
  byId("task-problem").hidden = !problem;
}

const command = debounced(check, CHECKED_AFTER);

async function make() {
  byId("make").disabled = true;
  try {
    const job = await api.post(path("jobs"), { task: state.task, fields: fields() });
    setMode("");
    toast(`Job ${job.id} is in the queue.`);
    emit("started");
  } catch (error) {
    failed(error);
  } finally {
    byId("make").disabled = false;
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("command").textContent);
    toast("The command line is copied. It runs in the project's folder.");
  } catch (error) {
    getSelection().selectAllChildren(byId("command"));
    toast("Press Ctrl+C: this browser copies only what is selected.");
  }
}

export function startTask() {
  if (!(state.task in TASKS)) state.task = "generate";
  byId("task").addEventListener("submit", (event) => event.preventDefault());
  byId("make").addEventListener("click", make);
  byId("copy").addEventListener("click", copy);
  on("project site task mode ticked current", draw);
}

