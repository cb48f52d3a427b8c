// The workbench of the report: molecules in a table and in 3D. Needs viewer.js and table.js.
"use strict";

import { byId, element, format, saveFile } from "./dom.js";
import { MoleculeTable } from "./table.js";
import { COLOURS, molecule, sticks, Viewer } from "./viewer.js";

const data = JSON.parse(byId("data").textContent);
const SHOWN = ["vina_dock", "vina_min", "vina_score", "qed", "sa", "strain", "clashes", "heavy_atoms", "logp"];
const MOST_SHOWN = 6;
const MOST_TICKED = 20;  // in the 3D view
const ROW_HEIGHT = 107;  // px, as in shared.css
const QUIET = "van der Waals contact";
const metrics = data.metrics.map((metric, k) => ({ ...metric, k }));
const passIndex = metrics.findIndex((metric) => metric.name === data.passName);
const rows = data.rows.map((row, k) => ({
  key: k, site: data.sites[row[0]], place: row[0], index: row[1], title: row[2], smiles: row[3], values: row[4],
  failed: row[5], detail: row[6], structure: data.structures[k] || null, picture: (data.structures[k] || [data.pictures[k]])[0],
  pass: passIndex < 0 ? null : row[4][passIndex] === 1,
}));
for (const row of rows) {
  const failed = (row.failed || []).map((c) => data.checks[c]);
  row.text = [row.title, row.smiles, row.site.name, row.index, ...failed].join("\n").toLowerCase();
}
const shown = new Set(SHOWN.filter((name) => metrics.some((metric) => metric.name === name)).slice(0, MOST_SHOWN));
const ticked = new Set();
const hiddenKinds = new Set(data.kinds.map((kind, k) => (kind.name === QUIET ? k : -1)));
let sort = { id: "rank", up: true };
let current = null;
let centred = null;

const nameOf = (row) => row.title || `molecule ${row.index}`;
const passLabel = () => (data.passName === "pb_valid" ? "PoseBusters" : "Connected");
const placeOf = (metric) => (SHOWN.includes(metric.name) ? SHOWN.indexOf(metric.name) : SHOWN.length + metric.k);
const shownMetrics = () => metrics.filter((metric) => shown.has(metric.name)).sort((a, b) => placeOf(a) - placeOf(b));

// --- table

function columns() {
  return [
    { id: "tick", label: "Tick", sorts: false, cell: tickCell },
    { id: "rank", label: "#", value: (row) => row.key, cell: (row) => element("td", { class: "num" }, String(row.key + 1)) },
    { id: "structure", label: "Structure", sorts: false, cell: pictureCell },
    { id: "title", label: "Molecule", value: (row) => nameOf(row).toLowerCase(), cell: titleCell },
    ...(passIndex < 0 ? [] : [{ id: "pass", label: passLabel(), value: (row) => (row.failed ? row.failed.length : row.pass ? 0 : 1), cell: passCell }]),
    ...shownMetrics().map((metric) => ({
      id: metric.name, label: metric.label, metric, value: (row) => row.values[metric.k],
      title: `${metric.meaning}${metric.unit ? ` (${metric.unit})` : ""}`,
      cell: (row) => element("td", { class: "num" }, format(row.values[metric.k], metric.unit)),
    })),
  ];
}

function tickCell(row) {
  const tick = element("input", { type: "checkbox", "aria-label": `Tick ${nameOf(row)}, ${row.site.name} ${row.index}`,
    checked: ticked.has(row.key), disabled: !row.structure });
  if (!row.structure) tick.title = "Its coordinates are not in this page; see molecules.sdf";
  tick.addEventListener("change", () => { setTick(row, tick.checked); drawTicked(); });
  return element("td", {}, tick);
}

function pictureCell(row) {
  const cell = element("td");
  if (row.picture) cell.append(element("img", { alt: "", src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(row.picture)}` }));
  return cell;
}

function titleCell(row) {
  const view = element("button", { type: "button", class: "view", "aria-label": `Show ${nameOf(row)} in 3D` }, nameOf(row));
  view.addEventListener("click", () => show(row));
  return element("th", { scope: "row" }, view, element("span", { class: "where" }, `${row.site.name} · ${row.index}`));
}

function passCell(row) {
  if (data.passName !== "pb_valid") return element("td", { class: row.pass ? "good" : "bad" }, row.pass ? "yes" : "no");
  if (row.pass) return element("td", { class: "good" }, "✓ pass");
  if (row.values[passIndex] === null) return element("td", {}, "– no answer");
  const known = row.failed && row.failed.length;
  const cell = element("td", { class: "bad" }, known ? `✗ ${row.failed.length} failed` : "✗ not passed");
  if (known) cell.title = row.failed.map((c) => data.checks[c]).join("\n");
  return cell;
}

const table = new MoleculeTable({ frame: byId("frame"), head: byId("head"), body: byId("body"), rowHeight: ROW_HEIGHT, columns, onSort: sortBy });

function sortBy(id) {
  const column = columns().find((c) => c.id === id);
  sort = { id, up: sort.id === id ? !sort.up : !(column.metric && column.metric.better === "higher") };
  refresh();
}

function compare(a, b) {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 2;
  if (b === null || b === undefined) return -2;
  return typeof a === "string" ? Math.sign(a.localeCompare(b)) : Math.sign(a - b);
}

function sorted(listed) {
  const column = columns().find((c) => c.id === sort.id) || columns()[1];
  const keyed = listed.map((row) => [column.value(row), row]);
  keyed.sort(([a, first], [b, second]) => {
    const order = compare(a, b);  // what has no value stays last in both directions
    return (Math.abs(order) === 2 ? order : sort.up ? order : -order) || first.key - second.key;
  });
  return keyed.map(([, row]) => row);
}

function listed() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const pocket = byId("pocket").value;
  const only = byId("pass").checked;
  return rows.filter((row) => words.every((word) => row.text.includes(word))
    && (pocket === "" || row.place === Number(pocket)) && (!only || row.pass));
}

function refresh() {
  const found = sorted(listed());
  table.show({ length: found.length, row: (k) => found[k] || null, all: found }, { sort, top: true });
  byId("page-text").textContent = `${found.length} of ${rows.length} molecules`;
}

function setTick(row, wanted) {
  if (wanted && row.structure) ticked.add(row.key);
  else ticked.delete(row.key);
}

function drawTicked() {
  const count = ticked.size;
  byId("download").disabled = count === 0;
  byId("download").textContent = count ? `Download ${count} ticked as SDF` : "Download ticked as SDF";
  for (const line of byId("body").children) line.querySelector("input").checked = ticked.has(Number(line.dataset.key));
  if (byId("show-ticked").checked) draw();
}

function show(row) {
  current = row;
  table.setCurrent(row.key, true);
  draw();
  drawLegend();
  drawDetails();
}

function step(by) {
  const key = table.next(by);
  if (key !== null) show(rows[key]);
}

function drawColumns() {
  byId("columns").replaceChildren(...metrics.map((metric) => {
    const box = element("input", { type: "checkbox", checked: shown.has(metric.name) });
    box.addEventListener("change", () => {
      if (box.checked) shown.add(metric.name); else shown.delete(metric.name);
      refresh();
    });
    return element("label", {}, box, metric.label);
  }));
}

// --- download

const oneLine = (text) => String(text).replace(/[\s\u0000-\u001f]+/g, " ").trim();

function sdf() {
  return rows.filter((row) => ticked.has(row.key)).map((row) => {
    const values = metrics.map((metric) => [metric.name, row.values[metric.k]]).filter(([, value]) => value !== null);
    const props = [["pocket", row.site.name], ["index", row.index], ["smiles", row.smiles], ...values]
      .map(([key, value]) => [oneLine(key).replace(/[<>]/g, "_"), oneLine(value)]).filter(([, value]) => value !== "");
    const block = row.structure[1].replace(/\n+$/, "");
    return `${oneLine(row.title).slice(0, 200)}\n${block}\n${props.map(([key, value]) => `>  <${key}>\n${value}\n\n`).join("")}$$$$\n`;
  }).join("");
}

// --- 3D view

const viewer = new Viewer(byId("stage"), byId("stage-note"));

function contacts(found) {
  return (found || []).filter(([kind]) => !hiddenKinds.has(kind))
    .map(([kind, , residue, ...xyz]) => ({ residue, colour: data.kinds[kind].colour, from: xyz.slice(0, 3), to: xyz.slice(3) }));
}

function draw() {
  const row = current;
  if (!viewer.gl || !row) return;
  const { site, structure } = row;
  const models = [];
  if (site.pdb && byId("show-pocket").checked) models.push({ key: "pocket", text: site.pdb, format: "pdb", styles: [[{}, sticks(COLOURS.protein, 0.07)]] });
  if (site.reference && byId("show-reference").checked) models.push(molecule("reference", site.reference, COLOURS.reference, 0.09));
  if (byId("show-ticked").checked) {
    const others = rows.filter((other) => ticked.has(other.key) && other !== row && other.site === site);
    models.push(...others.slice(0, MOST_TICKED).map((other) => molecule(`ticked ${other.key}`, other.structure[1], COLOURS.ticked, 0.06)));
  }
  if (structure) models.push(molecule("molecule", structure[1], COLOURS.molecule, 0.16, 0.26));
  const found = structure ? contacts(structure[2]) : [];
  if (byId("show-reference-interactions").checked) found.push(...contacts(site.interactions));
  viewer.draw({ models, contacts: found, labelled: byId("show-labels").checked });
  if (centred !== site) {
    viewer.zoomTo(structure ? "molecule" : "reference", 0.72);
    centred = site;
  }
  const gaps = [structure ? "" : "The coordinates of this molecule are not in this page (see molecules.sdf).",
    site.pdb ? "" : "No protein around this pocket in this page."];
  viewer.say(gaps.filter(Boolean).join(" "));
  byId("stage").setAttribute("aria-label", `3D view of ${nameOf(row)} in ${site.name || "its pocket"}`);
}

function key(colour, text, solid) {
  const line = element("i", solid ? { class: "solid" } : {});
  line.style.borderTopColor = colour;
  return [line, text];
}

function drawLegend() {
  const structure = current && current.structure;
  const site = current ? current.site : {};
  const own = site.interactions && byId("show-reference-interactions").checked ? site.interactions : [];
  const counts = new Map();
  for (const [kind] of [...((structure && structure[2]) || []), ...own]) counts.set(kind, (counts.get(kind) || 0) + 1);
  const items = [element("span", {}, ...key(COLOURS.molecule, " molecule", true))];
  if (site.reference && byId("show-reference").checked) items.push(element("span", {}, ...key(COLOURS.reference, " reference", true)));
  if (byId("show-ticked").checked) items.push(element("span", {}, ...key(COLOURS.ticked, " ticked", true)));
  for (const [kind, count] of [...counts].sort(([a], [b]) => a - b)) {
    const box = element("input", { type: "checkbox", checked: !hiddenKinds.has(kind) });
    box.addEventListener("change", () => { if (box.checked) hiddenKinds.delete(kind); else hiddenKinds.add(kind); draw(); });
    items.push(element("label", {}, box, ...key(data.kinds[kind].colour, `${data.kinds[kind].name} (${count})`)));
  }
  if (structure && structure[2] === null) items.push(element("span", {}, "interactions: not computed"));
  else if (structure && !counts.size) items.push(element("span", {}, "no interactions found"));
  byId("legend").replaceChildren(...items);
}

function drawDetails() {
  const row = current;
  if (!row) { byId("details").replaceChildren(element("p", {}, "There is no valid molecule to show.")); return; }
  const parts = [element("h3", {}, `${nameOf(row)} `), element("p", {}, `${row.site.name} · index ${row.index} · rank ${row.key + 1}`),
    element("p", {}, element("code", {}, row.smiles))];
  if (row.failed) {
    parts.push(row.failed.length ? element("p", { class: "bad" }, `Fails: ${row.failed.map((c) => data.checks[c]).join("; ")}`)
      : element("p", { class: row.pass ? "good" : "" }, row.pass ? "Passes every PoseBusters check" : "Fails no check, but some are undecided"));
  }
  if (row.detail) parts.push(element("p", {}, row.detail));
  parts.push(element("dl", {}, ...metrics.map((metric) => element("div", {},
    element("dt", {}, metric.label), element("dd", {}, format(row.values[metric.k], metric.unit))))));
  const found = (row.structure && row.structure[2]) || [];
  if (found.length) {
    const list = found.map(([, type, residue]) => `${type} ${residue}`);
    parts.push(element("details", {}, element("summary", {}, `${found.length} interactions`), element("p", {}, [...new Set(list)].join(", "))));
  }
  byId("details").replaceChildren(...parts);
}

// --- start

function startTable() {
  data.sites.forEach((site, k) => byId("pocket").append(element("option", { value: String(k) }, site.name)));
  byId("pocket").parentElement.hidden = data.sites.length < 2;
  byId("pass").parentElement.hidden = passIndex < 0;
  byId("pass-label").textContent = data.passName === "pb_valid" ? "PoseBusters-valid only" : "Connected only";
  for (const id of ["filter", "pocket", "pass"]) byId(id).addEventListener("input", refresh);
  byId("tick-all").addEventListener("click", () => { table.source.all.forEach((row) => setTick(row, true)); drawTicked(); });
  byId("tick-none").addEventListener("click", () => { ticked.clear(); drawTicked(); });
  byId("download").addEventListener("click", () => saveFile(`selection_${ticked.size}.sdf`, new Blob([sdf()], { type: "chemical/x-mdl-sdfile" })));
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  drawColumns();
  refresh();
}

function startViewer() {
  const some = (test) => data.sites.some(test);
  const reference = some((site) => site.reference);
  byId("show-reference").checked = reference;
  for (const [id, present] of [["show-reference", reference], ["show-reference-interactions", some((site) => site.interactions)], ["show-pocket", some((site) => site.pdb)]]) {
    byId(id).disabled = !present;
    byId(id).checked = byId(id).checked && present;
  }
  for (const id of ["show-pocket", "show-reference", "show-reference-interactions", "show-labels", "show-ticked"]) {
    byId(id).addEventListener("change", () => { draw(); drawLegend(); });
  }
  byId("centre").addEventListener("click", () => { centred = null; draw(); });
  if (rows.length) show(rows[0]);
  else { drawLegend(); drawDetails(); viewer.say("There is no molecule to show."); }
}

startTable();
startViewer();
