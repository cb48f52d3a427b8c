// What the page knows and shows, the undo stack, and the address that holds it.
"use strict";

export const state = {
  id: document.body.dataset.project,
  project: null,
  task: "generate",
  from: ["reference"],
  atoms: [],  // numbers from 1, in the file of from[0]
  require: [],  // "hbond A:SER508"
  exclude: [],  // [x, y, z, radius]
  mode: "",  // what a click in 3D does: "", residues, point, atoms
  current: "",
  ticked: new Set(),
  layout: "cards",
  sort: { id: "", up: true },
  filters: {},  // job, pb_valid, starred, smarts, cluster, ranges: {metric: [low, high]}
  plot: "scatter",
  axes: [],  // of the scatter plot
};

const events = new EventTarget();
export const on = (names, act) => { for (const name of names.split(" ")) events.addEventListener(name, act); };
export function emit(name) {
  events.dispatchEvent(new Event(name));
  remember();
}

// --- undo of what was ticked, starred, filtered

const done = [], undone = [];
let busy = Promise.resolve();

// One after the other, so that undo means what was asked for last, also while the server still works on it.
function inTurn(work) {
  const result = busy.then(work);
  busy = result.catch(() => null);
  return result;
}

export const act = (label, forward, back) => inTurn(async () => {
  await forward();
  done.push({ label, forward, back });
  undone.length = 0;
  emit("history");
});

export const lastAct = () => done.at(-1);

const turned = (from, to, way) => inTurn(async () => {
  const last = from.pop();
  if (!last) return null;
  await last[way]();
  to.push(last);
  emit("history");
  return last;
});

// Both give what was undone or done again, or null.
export const undo = () => turned(done, undone, "back");
export const redo = () => turned(undone, done, "forward");

export function setFilters(changes, label) {
  const before = state.filters, after = { ...before, ...changes };
  for (const [name, value] of Object.entries(after)) {
    const empty = value === "" || value === null || value === undefined || value === false;
    if (empty || (name === "ranges" && !Object.keys(value).length)) delete after[name];
  }
  const put = (filters) => () => { state.filters = filters; emit("filters"); };
  return act(label, put(after), put(before));
}

export function setTicks(ids, ticked, label) {
  const before = new Set(state.ticked), after = new Set(before);
  for (const id of ids) if (ticked) after.add(id); else after.delete(id);
  const put = (set) => () => { state.ticked = new Set(set); emit("ticked"); };
  return act(label, put(after), put(before));
}

// --- address

const MOST_TICKED = 30;  // in the address

function remember() {
  const words = new URLSearchParams();
  const put = (name, value) => { if (value !== "" && value !== undefined && value !== null) words.set(name, value); };
  put("mol", state.current);
  if (state.layout !== "cards") put("show", state.layout);
  if (state.sort.id) put("sort", (state.sort.up ? "" : "-") + state.sort.id);
  if (Object.keys(state.filters).length) put("filter", JSON.stringify(state.filters));
  if (state.plot !== "scatter") put("plot", state.plot);
  if (state.axes.length) put("axes", state.axes.join(","));
  if (state.task !== "generate") put("task", state.task);
  if (state.from.join() !== "reference") put("from", state.from.join(","));
  put("atoms", state.atoms.join(","));
  if (state.ticked.size && state.ticked.size <= MOST_TICKED) put("ticked", [...state.ticked].join(","));
  const text = words.toString();
  history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
}

export function recall() {
  const words = new URLSearchParams(location.search);
  const list = (name) => (words.get(name) || "").split(",").filter(Boolean);
  state.current = words.get("mol") || "";
  state.layout = ["table", "plot", "family"].includes(words.get("show")) ? words.get("show") : "cards";
  const sort = words.get("sort") || "";
  state.sort = { id: sort.replace(/^-/, ""), up: !sort.startsWith("-") };
  state.filters = parsed(words.get("filter"));
  state.plot = words.get("plot") === "parallel" ? "parallel" : "scatter";
  state.axes = list("axes").slice(0, 2);
  state.task = words.get("task") || "generate";
  state.from = list("from").length ? list("from") : ["reference"];
  state.atoms = list("atoms").map(Number).filter((n) => Number.isInteger(n) && n > 0);
  state.ticked = new Set(list("ticked"));
}

function parsed(text) {
  try {
    const value = JSON.parse(text || "{}");
    return value && typeof value === "object" && !Array.isArray(value) ? value : {};
  } catch (error) {
    return {};
  }
}
