// Filters as chips, the menus of filters and of export, and the bar of ticked molecules.
"use strict";

import { api } from "./api.js";
import { compare } from "./compare.js";
import { failed } from "./feedback.js";
import { ALL, query } from "./molecules.js";
import { source } from "./results.js";
import { viewer } from "./scene.js";
import { byId, element, saveFile } from "./shared/dom.js";
import { sketch } from "./sketch.js";
import { on, setFilters, setTicks, state } from "./store.js";
import { startFrom } from "./task.js";

function button(text, act, css = "small") {
  const node = element("button", { type: "button", class: css }, text);
  node.addEventListener("click", act);
  return node;
}

function titled(node, text) {
  node.title = text;
  return node;
}

const closeMenus = () => document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; });

function chip(text, changes, said) {
  const close = button("×", () => setFilters(changes, said), "");
  close.setAttribute("aria-label", `Remove the filter ${text}`);
  return element("span", { class: "chip" }, text, close);
}

const labelOf = (name) => (source.columns.find((column) => column.name === name) || { label: name }).label;

function range([low, high], name) {
  const text = (x) => String(Number(x.toPrecision(3))).replace("-", "−");
  if (low === null) return `${labelOf(name)} ≤ ${text(high)}`;
  return high === null ? `${labelOf(name)} ≥ ${text(low)}` : `${labelOf(name)} ${text(low)} to ${text(high)}`;
}

function drawChips() {
  const { job, pb_valid: valid, starred, smarts, cluster, ranges = {} } = state.filters;
  const chips = [];
  if (job) chips.push(chip(`job ${job}`, { job: "" }, "filter by job"));
  if (valid) chips.push(chip("✓ PoseBusters", { pb_valid: false }, "filter by PoseBusters"));
  if (starred) chips.push(chip("★ starred", { starred: false }, "filter by stars"));
  if (smarts) chips.push(chip(smarts, { smarts: "" }, "filter by substructure"));
  if (cluster) chips.push(chip(`cluster ${cluster}`, { cluster: null }, "filter by cluster"));
  for (const [name, limits] of Object.entries(ranges)) {
    const rest = Object.fromEntries(Object.entries(ranges).filter(([other]) => other !== name));
    chips.push(chip(range(limits, name), { ranges: rest }, "filter by a range"));
  }
  if (chips.length > 1) chips.push(button("Clear all", () => setFilters({ job: "", pb_valid: false, starred: false, smarts: "", cluster: null, ranges: {} }, "clear the filters"), "ghost small"));
  byId("chips").replaceChildren(...chips);
  if (document.activeElement !== byId("filter")) byId("filter").value = smarts || "";
}

// --- menus

function toggle(name, text) {
  const box = element("input", { type: "checkbox", checked: Boolean(state.filters[name]) });
  box.addEventListener("change", () => setFilters({ [name]: box.checked }, `filter: ${text}`));
  return element("label", { class: "check" }, box, text);
}

function rangeForm() {
  const select = element("select", { "aria-label": "Property" }, ...source.columns.filter((column) => !["pb_valid", "cluster"].includes(column.name)).map((column) => element("option", { value: column.name }, column.label)));
  const [low, high] = ["least", "greatest"].map((text) => element("input", { type: "number", step: "any", placeholder: text, "aria-label": `${text} value` }));
  const number = (box) => (box.value === "" ? null : Number(box.value));
  const add = button("Add", () => {
    if (!select.value || (low.value === "" && high.value === "")) return;
    setFilters({ ranges: { ...state.filters.ranges, [select.value]: [number(low), number(high)] } }, `filter by ${labelOf(select.value)}`);
    closeMenus();
  }, "small primary");
  return element("div", { class: "range-form" }, select, low, "to", high, add);
}

function drawFilterMenu() {
  const jobs = element("select", { "aria-label": "Job" }, element("option", { value: "" }, "all jobs"), ...state.project.jobs.map((job) => element("option", { value: job.id, selected: String(state.filters.job || "") === String(job.id) }, `job ${job.id}: ${job.task}`)));
  jobs.addEventListener("change", () => setFilters({ job: jobs.value }, "filter by job"));
  const current = source.find(state.current);
  const cluster = current && current.values.cluster ? [button(`Like molecule ${current.id} (cluster ${current.values.cluster})`, () => setFilters({ cluster: current.values.cluster }, "filter by cluster"))] : [];
  byId("filter-menu").replaceChildren(toggle("pb_valid", "Passes PoseBusters"), toggle("starred", "Starred"), jobs, ...cluster, rangeForm());
}

function saved(name, path) {
  return async () => {
    closeMenus();
    try {
      saveFile(name, await api.blob(path));
    } catch (error) {
      failed(error);
    }
  };
}

function exportPath(format, ids) {
  const words = new URLSearchParams({ format });
  if (ids) words.set("ids", ids.join(","));
  else {
    const { job, ...rest } = state.filters;
    if (Object.keys(rest).length) words.set("filter", JSON.stringify(rest));
    if (job) words.set("job", job);
  }
  return `/api/projects/${state.id}/export?${words}`;
}

function picturePng() {
  closeMenus();
  if (!viewer.gl) return;
  const [, data] = viewer.gl.pngURI().split(",");
  saveFile(`${state.id}.png`, new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], { type: "image/png" }));
}

function drawExportMenu() {
  const ticked = [...state.ticked];
  const entries = [
    button(`Listed molecules (${source.length}) as SDF`, saved(`${state.id}.sdf`, exportPath("sdf"))),
    button(`Listed molecules (${source.length}) as CSV`, saved(`${state.id}.csv`, exportPath("csv"))),
  ];
  if (ticked.length) entries.push(button(`Ticked molecules (${ticked.length}) as SDF`, saved(`${state.id}-ticked.sdf`, exportPath("sdf", ticked))), button(`Ticked molecules (${ticked.length}) as CSV`, saved(`${state.id}-ticked.csv`, exportPath("csv", ticked))));
  if (state.current && state.current !== "reference") entries.push(button(`Complex with ${state.current} as PDB`, saved(`${state.id}-${state.current}.pdb`, exportPath("pdb", [state.current]))));
  entries.push(button("3D picture as PNG", picturePng));
  const job = state.filters.job || (state.project.jobs.findLast((each) => each.state === "done") || {}).id;
  if (job) entries.push(button(`Report of job ${job} (HTML)`, saved(`${state.id}-job-${job}.html`, `/api/projects/${state.id}/export?format=report&job=${job}`)));
  byId("export-menu").replaceChildren(...entries);
}

// --- ticked molecules

async function tickListed() {
  try {
    const { rows } = await api.get(query(state.filters, state.sort, 0, ALL));
    await setTicks(rows.map((row) => row.id), true, `tick ${rows.length} molecules`);
  } catch (error) {
    failed(error);
  }
}

function drawTicked() {
  const ids = [...state.ticked];
  byId("ticked-bar").hidden = !ids.length;
  byId("ticked-bar").replaceChildren(element("b", {}, `${ids.length} ticked`),
    button("Compare", () => compare(ids), "small primary"), button("Link", () => startFrom(state.from, "link")), button("Optimise", () => startFrom(state.from, "optimise")),
    titled(button("All", tickListed), "Tick all that are listed"), button("None", () => setTicks(ids, false, `untick ${ids.length} molecules`)));
}

export function startFilters() {
  byId("filter").addEventListener("change", (event) => setFilters({ smarts: event.target.value.trim() }, "filter by substructure"));
  byId("draw-filter").addEventListener("click", () => sketch("Filter by a substructure", state.filters.smarts || "", (smarts) => setFilters({ smarts }, "filter by substructure")));
  byId("more-filters").addEventListener("toggle", drawFilterMenu);
  byId("export").addEventListener("toggle", drawExportMenu);
  document.addEventListener("click", (event) => { if (!event.target.closest("details.menu")) closeMenus(); });
  byId("wide").addEventListener("click", () => {
    const wide = document.body.classList.toggle("wide-results");
    byId("wide").setAttribute("aria-pressed", String(wide));
    if (viewer.gl) viewer.gl.resize();
  });
  on("filters rows-new", drawChips);
  on("ticked", drawTicked);
  drawChips();
  drawTicked();
}
