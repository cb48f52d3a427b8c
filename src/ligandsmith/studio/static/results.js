// The molecules: cards, table, filters, ticks, and the order.
"use strict";

import { failed } from "./feedback.js";
import { lineIn } from "./jobs.js";
import { PagedRows, patch, pictureOf } from "./molecules.js";
import { byId, counted, element, format } from "./shared/dom.js";
import { MoleculeTable } from "./shared/table.js";
import { act, emit, on, setTicks, state } from "./store.js";

const ROW_HEIGHT = 107;  // px, as in shared.css
const ON_CARDS = [  // of each the first that has a value, and its name on a card
  [["vina_dock", "vina_min", "vina_score"], "Vina"], [["qed"], "QED"], [["sa"], "SA"], [["logp"], "logP"], [["heavy_atoms"], "atoms"], [["strain_uff", "strain_mmff"], "strain"],
];
const MOST_ON_CARDS = 6;
const AGAIN = 700;  // ms between redraws while molecules are made
const ARROWS = { higher: "↑", lower: "↓" };
export let source = new PagedRows({}, { id: "" }, () => null, null);
let again = 0;
let edits = 0;  // of molecules, until now
const asked = { last: 0, shown: 0 };  // requests for the rows, in their order

export const better = (column) => (column.better ? ` ${ARROWS[column.better]}` : "");
export const titled = ({ label, unit }) => (unit && !label.includes(unit) ? `${label} (${unit})` : label);
export const shownColumns = () => source.columns.filter((column) => column.name !== "pb_valid");
export const rowOf = (id) => source.find(id);

// --- cells

function tickBox(row) {
  const box = element("input", { type: "checkbox", checked: state.ticked.has(row.id), "aria-label": `Tick molecule ${row.id}` });
  box.addEventListener("change", () => setTicks([row.id], box.checked, `${box.checked ? "tick" : "untick"} ${row.id}`).catch(failed));
  return box;
}

function starButton(row) {
  const node = element("button", { type: "button", class: `star${row.starred ? " on" : ""}`, "aria-pressed": String(row.starred), "aria-label": `Star molecule ${row.id}` }, row.starred ? "★" : "☆");
  node.addEventListener("click", () => star(row));
  return node;
}

// Changes a molecule on the server, then in the rows that are shown by then.
export async function change(id, changes) {
  const row = await patch(id, changes);
  edits += 1;
  source.replace(row);
  emit("rows");
}

export async function star(row) {
  const put = (starred) => () => change(row.id, { starred });
  await act(`${row.starred ? "unstar" : "star"} ${row.id}`, put(!row.starred), put(row.starred)).catch(failed);
}

function picture(row) {
  return element("img", { alt: "", src: pictureOf(row.id), loading: "lazy", fetchPriority: "low", width: 140, height: 98 });
}

function view(row) {
  const node = element("button", { type: "button", class: "view", "aria-label": `Show molecule ${row.id} in 3D` }, row.id);
  node.addEventListener("click", () => show(row.id));
  return node;
}

export const failures = (row) => (row.failed || []).map((name) => name.replaceAll("_", " ")).join(", ") || "a check";

export function passes(row) {
  if (row.ok === null || row.ok === undefined) return element("span", { class: "soft", title: "PoseBusters: not checked yet" }, "–");
  return element("span", { class: row.ok ? "good" : "bad", title: row.ok ? "Passes PoseBusters" : `Fails PoseBusters: ${failures(row)}` }, row.ok ? "✓" : "✗");
}

function card(row) {
  const known = ON_CARDS.map(([names, text]) => [source.columns.find(({ name }) => names.includes(name) && typeof row.values[name] === "number"), text]).filter(([column]) => column).slice(0, MOST_ON_CARDS);
  const numbers = known.map(([column, text]) => element("div", { title: column.label }, element("dt", {}, `${text}${better(column)}`), element("dd", {}, format(row.values[column.name], column.unit, column.decimals))));
  const body = element("div", { class: "card-body" }, element("div", { class: "card-head" }, view(row), passes(row), row.note ? element("span", { class: "soft", title: row.note }, "✎") : null, element("span", { class: "grow" }), starButton(row)),
    element("dl", {}, ...numbers), row.move && row.move !== "generate" ? element("p", { class: "soft origin" }, [row.move, row.parent ? `from ${row.parent}` : ""].filter(Boolean).join(" ")) : null);
  const cell = element("td", { class: "card-cell" }, element("div", { class: "molecule-card" }, tickBox(row), picture(row), body));
  cell.querySelector("img").addEventListener("click", () => show(row.id));
  return cell;
}

function columns() {
  if (state.layout !== "table") return [{ id: "card", label: "Molecule", sorts: false, cell: card }];
  return [
    { id: "tick", label: "Tick", sorts: false, cell: (row) => element("td", {}, tickBox(row)) },
    { id: "star", label: "Star", sorts: false, cell: (row) => element("td", {}, starButton(row)) },
    { id: "structure", label: "Structure", sorts: false, cell: (row) => element("td", {}, picture(row)) },
    { id: "index", label: "Molecule", cell: (row) => element("th", { scope: "row" }, view(row), element("span", { class: "where" }, row.move || "")) },
    { id: "pb_valid", label: "PoseBusters", cell: (row) => element("td", {}, passes(row)) },
    ...shownColumns().map((column) => ({
      id: column.name, label: `${titled(column)}${better(column)}`,
      cell: (row) => element("td", { class: "num" }, format(row.values[column.name], column.unit, column.decimals)),
    })),
  ];
}

const table = new MoleculeTable({ frame: byId("frame"), head: byId("head"), body: byId("body"), rowHeight: ROW_HEIGHT, columns, onSort: sortBy });

export function sortBy(id) {
  const column = source.columns.find((each) => each.name === id);
  const up = state.sort.id === id ? !state.sort.up : !(column && column.better === "higher");
  state.sort = { id, up };
  emit("sort");
}

export function show(id) {
  state.current = id;
  emit("current");
}

export function step(by) {
  const key = table.next(by);
  if (key !== null) show(key);
  table.setCurrent(state.current, true);
}

// --- rows

// Rows that are as the server holds them: asked for again if a molecule was changed on the way.
async function loaded(top) {
  const before = edits;
  const next = new PagedRows(state.filters, state.sort, (rows) => { if (rows === source) table.draw(); }, source);
  await next.load(top ? 0 : Math.floor(byId("frame").scrollTop / ROW_HEIGHT / 100));
  return before === edits ? next : loaded(top);
}

// Asks for the rows again; what is shown stays until they are there.
export async function reload(top) {
  asked.last += 1;
  const request = asked.last;
  let next = null;
  try {
    next = await loaded(top);
  } catch (error) {
    failed(error);
    return;
  }
  if (request < asked.shown) return;  // later rows came earlier
  asked.shown = request;
  source = next;
  table.show(next, { sort: state.sort, top });
  emit("rows-new");
}

function later() {
  if (again) return;
  again = setTimeout(() => { again = 0; reload(false); }, AGAIN);
}

// --- frame around the rows

function drawCount() {
  const filtered = source.length !== source.total;
  byId("count").textContent = filtered ? `${source.length.toLocaleString("en-US")} of ${counted(source.total)}` : counted(source.total);
  const options = [["", "best first"], ["index", "as made"], ...source.columns.map((column) => [column.name, `${column.label}${better(column)}`])];
  byId("sort").replaceChildren(...options.map(([id, text]) => element("option", { value: id, selected: id === state.sort.id }, text)));
  byId("direction").textContent = state.sort.up ? "▲" : "▼";
  byId("direction").hidden = !state.sort.id;
}

function drawEmpty() {
  const busy = state.project.jobs.find((job) => !["done", "cancelled", "failed", "interrupted"].includes(job.state));
  const filtered = Object.keys(state.filters).length > 0;
  const parts = [];
  if (source.length) { byId("empty").hidden = true; return; }
  if (filtered && source.total) parts.push(element("h2", {}, "No molecule passes the filters"), element("p", {}, "Remove one of the chips above, or undo."));
  else if (busy) {
    const line = lineIn(byId("empty"), busy);
    if (line.isConnected) { byId("empty").hidden = false; return; }
    parts.push(element("h2", {}, "The first molecules are on their way"), element("p", {}, "They appear here as soon as each is finished."), line);
  }
  else {
    const step_ = !state.project.protein ? ["Drop a protein", "A PDB or mmCIF file; then choose the site on the left."] : !state.project.site ? ["Choose the site", "A ligand, residues or a point: on the left, or by a click in 3D."]
      : ["Make the first ligands", "The site is chosen. Press “Make ligands” on the left; the first ones are here within a minute."];
    parts.push(element("h2", {}, step_[0]), element("p", {}, step_[1]), element("p", { class: "soft" }, "Molecules of any other method can be dropped as SDF; they are scored and shown in the same way."));
  }
  byId("empty").replaceChildren(...parts);
  byId("empty").hidden = false;
}

function drawTicked() {
  for (const line of byId("body").children) {
    const box = line.querySelector("input[type=checkbox]");
    if (box) box.checked = state.ticked.has(line.dataset.key);
  }
}

function drawLayout() {
  for (const button of document.querySelectorAll("#layouts button")) button.setAttribute("aria-pressed", String(button.dataset.layout === state.layout));
  const list = state.layout === "cards" || state.layout === "table";
  byId("frame").hidden = !list || !source.length;
  byId("frame").classList.toggle("cards-frame", state.layout === "cards");
  byId("plot").hidden = state.layout !== "plot" || !source.total;
  byId("family").hidden = state.layout !== "family" || !source.total;
  byId("sort-label").hidden = !list;
}

function drawAll() {
  drawCount();
  drawEmpty();
  drawLayout();
}

export function startResults() {
  for (const button of document.querySelectorAll("#layouts button")) {
    button.addEventListener("click", () => { state.layout = button.dataset.layout; emit("layout"); });
  }
  byId("sort").addEventListener("change", (event) => {
    const column = source.columns.find((each) => each.name === event.target.value);
    state.sort = { id: event.target.value, up: !(column && column.better === "higher") };
    emit("sort");
  });
  byId("direction").addEventListener("click", () => { state.sort = { ...state.sort, up: !state.sort.up }; emit("sort"); });
  on("filters sort", () => reload(true));
  on("made", later);
  on("rows-new layout jobs", drawAll);
  on("layout", () => { table.show(source, { sort: state.sort }); });
  on("rows", () => table.draw());
  on("ticked", drawTicked);
  on("current", () => table.setCurrent(state.current));
  table.current = state.current;
  return reload(true);
}
