// The tasks, and the fields that the server gets for what is chosen.
"use strict";

import { state } from "./store.js";

const KEPT = { field: "keep", title: "Keeps", none: "nothing in particular", click: "Click the atoms that stay as they are.", optional: true };

export const TASKS = {
  generate: { label: "New ligands", hint: "From nothing, to fit the site.", make: "Make ligands", from: "" },
  grow: { label: "Grow", hint: "A molecule stays as it is; new atoms are added, only at the atoms that you click, if any.", make: "Grow", from: "one", atoms: { field: "atoms", title: "Grows at", none: "any atom with a hydrogen", click: "Click the atoms to grow from." } },
  replace: { label: "Replace a part", hint: "The atoms that you click or draw around are made anew; the rest stays.", make: "Replace the part", from: "one", atoms: { field: "atoms", title: "Replaces", none: "no atom yet", click: "Click the atoms to replace, or use the lasso." } },
  hop: { label: "Hop to another scaffold", hint: "The substituents stay in place; the scaffold between them is new.", make: "Hop", from: "one" },
  decorate: { label: "Decorate", hint: "The scaffold stays; its substituents are new.", make: "Decorate", from: "one" },
  link: { label: "Link", hint: "Two or more molecules that lie apart are linked to one. Tick them in the list.", make: "Link", from: "many" },
  optimise: { label: "Optimise", hint: "Rounds of small changes; the best by your objectives are kept.", make: "Optimise", from: "many", atoms: KEPT },
  analogues: { label: "Analogues", hint: "Close relatives of a molecule, within a range of similarity.", make: "Make analogues", from: "one", atoms: KEPT },
};

export const OBJECTIVES = [
  { name: "vina_min", label: "Vina, minimised", better: "lower" },
  { name: "qed", label: "QED", better: "higher" },
  { name: "sa", label: "SA score", better: "lower" },
  { name: "strain_uff", label: "Strain", better: "lower" },
  { name: "logp", label: "logP", better: "lower", sign: "-" },
  { name: "similarity", label: "Similarity to start", better: "higher", only: "optimise" },
];

export const values = {  // of the form
  num: 20, num_atoms: "", seed: 0, checkpoint: "", budget: "100", similarity: ["", ""],
  weights: {}, no_alerts: false, rings: false, steer: false, qed: "", sa: "", logp: "", forbid: [], require_smarts: [],
};

// Weights by name; the tiny ones were not trained to complete a part of a molecule, as a required interaction needs.
export const WEIGHTS = { "": "small: better", tiny: "tiny: quicker, to try things out" };
export const completes = () => ["grow", "replace", "hop", "decorate", "link"].includes(state.task) || state.require.length > 0 || (Boolean(TASKS[state.task].atoms) && state.atoms.length > 0);

export function weightOf(name) {
  if (name in values.weights) return values.weights[name];
  return state.task === "optimise" ? { vina_min: 1, qed: 0.5, sa: 0.5 }[name] || 0 : 0;
}

function objective() {
  const terms = OBJECTIVES.filter(({ name, only }) => weightOf(name) > 0 && (!only || only === state.task))
    .map(({ name, sign = "" }) => `${sign}${name}${weightOf(name) === 1 ? "" : `:${weightOf(name)}`}`);
  return terms.length ? terms : undefined;
}

// What is still to be chosen, in words; empty when the server can be asked.
export function missing() {
  const { from } = TASKS[state.task];
  const { protein, site, reference } = state.project;
  if (!protein) return "Drop a protein first.";
  if (!site) return "Choose the site first.";
  const starts = from === "many" ? sources() : from ? state.from : [];
  if (starts.includes("reference") && !reference) return "There is no reference ligand: choose a molecule in the list as the start.";
  if (state.task === "link" && starts.length < 2) return "Tick two or more molecules to link.";
  if (state.task === "replace" && !state.atoms.length) return "Click the atoms that are to be replaced.";
  return "";
}

// What POST .../jobs takes; empty fields are left out.
export function fields() {
  const { from, atoms } = TASKS[state.task];
  const number = (text) => (text === "" ? undefined : Number(text));
  const found = {
    num: values.num, seed: values.seed || undefined, checkpoint: completes() ? "" : values.checkpoint, objective: objective(),
    require: state.require, exclude: state.exclude, forbid: values.forbid, require_smarts: values.require_smarts,
    no_alerts: values.no_alerts, rings: values.rings, steer: values.steer ? "vina" : undefined,
    qed: number(values.qed), sa: number(values.sa), logp: number(values.logp), num_atoms: values.num_atoms.trim(),
  };
  if (from === "one") found.from = state.from[0];
  if (from === "many") found.from = sources();
  if (from === "many" && atoms && state.atoms.length) found.from = [...new Set([state.from[0], ...found.from])];  // whose atoms they are
  if (atoms) found[atoms.field] = state.atoms;
  if (state.task === "optimise") found.budget = String(values.budget).trim();
  if (state.task === "analogues") { delete found.num_atoms; delete found.objective; }
  if (["optimise", "analogues"].includes(state.task) && values.similarity.every((x) => x !== "")) found.similarity = values.similarity.map(Number);
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined && value !== "" && value !== false && !(Array.isArray(value) && !value.length)));
}

// Of a task that starts from several molecules: the ticked ones, else the chosen one.
export function sources() {
  return state.ticked.size ? [...state.ticked] : state.from;
}
