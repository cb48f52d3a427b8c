// Two properties of all molecules against each other: a click shows one, a drag keeps those inside.
"use strict";

import { failed } from "./feedback.js";
import { allRows } from "./molecules.js";
import { drawParallel, parallelCanvas } from "./parallel.js";
import { better, show } from "./results.js";
import { byId, counted, element } from "./shared/dom.js";
import { emit, on, setFilters, setTicks, state } from "./store.js";

const EDGE = { left: 58, right: 14, top: 14, bottom: 44 };  // px
const NEAR = 9;  // px, from a click to a point
const FAVOURITES = ["vina_min", "qed"];
let data = { rows: [], columns: [] };
let asked = "";
let dots = [];  // {row, x, y} in px
let box = null;  // of a drag: [x, y, x, y]

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const numeric = () => data.columns.filter((column) => !["pb_valid", "cluster"].includes(column.name));

function axisNames() {
  const names = numeric().map((column) => column.name);
  const wanted = [...state.axes, ...FAVOURITES, ...names].filter((name) => names.includes(name));
  return [...new Set(wanted)].slice(0, 2);
}

function scale(values, from, to) {
  let [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const margin = 0.05 * (high - low) || 0.5;
  [low, high] = [low - margin, high + margin];
  return { low, high, at: (value) => from + ((value - low) / (high - low)) * (to - from), value: (at) => low + ((at - from) / (to - from)) * (high - low) };
}

function ticks({ low, high }) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(Number((k * step).toPrecision(10)));
  return found;
}

function drawAxes(pen, x, y, width, height) {
  pen.strokeStyle = colour("--line");
  pen.fillStyle = colour("--soft");
  pen.font = "12px system-ui, sans-serif";
  pen.beginPath();
  pen.moveTo(EDGE.left, EDGE.top);
  pen.lineTo(EDGE.left, height - EDGE.bottom);
  pen.lineTo(width - EDGE.right, height - EDGE.bottom);
  pen.stroke();
  const text = (value) => String(value).replace("-", "−");
  pen.textAlign = "center";
  for (const tick of ticks(x)) pen.fillText(text(tick), x.at(tick), height - EDGE.bottom + 16);
  pen.textAlign = "right";
  for (const tick of ticks(y)) pen.fillText(text(tick), EDGE.left - 6, y.at(tick) + 4);
}

function drawDot(pen, { row, x, y }, radius) {
  const [chosen, ticked] = [row.id === state.current, state.ticked.has(row.id)];
  pen.beginPath();
  if (row.ok === false) { pen.moveTo(x - 3.5, y - 3.5); pen.lineTo(x + 3.5, y + 3.5); pen.moveTo(x - 3.5, y + 3.5); pen.lineTo(x + 3.5, y - 3.5); } else pen.arc(x, y, chosen ? 7 : radius, 0, 7);
  pen.strokeStyle = row.ok === false ? colour("--soft") : colour("--ink");
  pen.fillStyle = ticked ? colour("--orange") : row.ok === null ? colour("--soft") : colour("--bar");
  pen.lineWidth = chosen ? 3 : row.ok === false ? 1.5 : 0.5;
  pen.globalAlpha = chosen || ticked ? 1 : 0.7;
  if (row.ok !== false) pen.fill();
  pen.stroke();
  pen.globalAlpha = 1;
}

function draw() {
  if (state.layout !== "plot" || byId("plot").hidden) return;
  const canvas = byId("plot").querySelector("canvas");
  if (canvas && state.plot === "parallel") {
    drawParallel(canvas, data, null);
    byId("plot-note").textContent = `${counted(data.rows.length)}, the better end of each axis above. Drag along an axis to keep those that pass there.`;
    return;
  }
  const [across, up] = axisNames();
  if (!canvas || !up) return;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * devicePixelRatio, height * devicePixelRatio];
  const pen = canvas.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  const rows = data.rows.filter((row) => [across, up].every((name) => typeof row.values[name] === "number"));
  if (!rows.length) return;
  const x = scale(rows.map((row) => row.values[across]), EDGE.left, width - EDGE.right);
  const y = scale(rows.map((row) => row.values[up]), height - EDGE.bottom, EDGE.top);
  canvas.scales = { x, y };
  drawAxes(pen, x, y, width, height);
  dots = rows.map((row) => ({ row, x: x.at(row.values[across]), y: y.at(row.values[up]) }));
  const important = (dot) => Number(dot.row.id === state.current) * 2 + Number(state.ticked.has(dot.row.id));
  for (const dot of [...dots].sort((a, b) => important(a) - important(b))) drawDot(pen, dot, rows.length < 500 ? 5 : 3);
  if (box) { pen.strokeStyle = colour("--orange"); pen.setLineDash([5, 3]); pen.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]); }
  canvas.setAttribute("aria-label", `${up} against ${across}: ${counted(rows.length)}. The table shows the same values.`);
  byId("plot-note").textContent = `${counted(rows.length)}. Click one to see it; drag to keep those inside; shift-drag ticks them.`;
}

const inside = ({ x, y }) => x >= Math.min(box[0], box[2]) && x <= Math.max(box[0], box[2]) && y >= Math.min(box[1], box[3]) && y <= Math.max(box[1], box[3]);

function released(event, canvas) {
  const mine = box;
  if (!mine) return;
  const small = Math.abs(mine[2] - mine[0]) < 5 && Math.abs(mine[3] - mine[1]) < 5;
  if (small) {
    const nearest = dots.map((dot) => [Math.hypot(dot.x - mine[0], dot.y - mine[1]), dot]).sort(([a], [b]) => a - b)[0];
    if (nearest && nearest[0] < NEAR) show(nearest[1].row.id);
  } else if (event.shiftKey) {
    const ids = dots.filter(inside).map((dot) => dot.row.id);
    setTicks(ids, true, `tick ${ids.length} molecules`);
  } else {
    const [across, up] = axisNames(), { x, y } = canvas.scales;
    const sorted = (a, b) => [a, b].sort((p, q) => p - q).map((value) => Number(value.toPrecision(4)));
    setFilters({ ranges: { ...state.filters.ranges, [across]: sorted(x.value(mine[0]), x.value(mine[2])), [up]: sorted(y.value(mine[1]), y.value(mine[3])) } }, "keep an area of the plot");
  }
  box = null;
  draw();
}

function axisSelect(place) {
  const names = axisNames();
  const select = element("select", { "aria-label": ["Across", "Up"][place] }, ...numeric().map((column) => element("option", { value: column.name, selected: column.name === names[place] }, `${column.label}${better(column)}`)));
  select.addEventListener("change", () => { const chosen = axisNames(); chosen[place] = select.value; state.axes = chosen; emit("axes"); });
  return element("label", { class: "row" }, ["Across ", "Up "][place], select);
}

function kinds() {
  const button = ([name, label]) => {
    const node = element("button", { type: "button", "aria-pressed": String(state.plot === name) }, label);
    node.addEventListener("click", () => { state.plot = name; emit("axes"); });
    return node;
  };
  return element("div", { class: "segmented", role: "group", "aria-label": "Kind of plot" }, ...[["scatter", "Scatter"], ["parallel", "Parallel"]].map(button));
}

function build() {
  const parallel = state.plot === "parallel";
  const canvas = parallel ? parallelCanvas(() => data) : scatterCanvas();
  const keys = parallel ? [] : [element("span", {}, "● passes PoseBusters"), element("span", {}, "✗ fails")];
  byId("plot").replaceChildren(element("div", { class: "toolbar" }, kinds(), ...(parallel ? [] : [axisSelect(0), axisSelect(1)])), canvas,
    element("p", { class: "keys" }, ...keys, element("span", { class: "ticked-key" }, "● ticked")), element("p", { class: "soft", id: "plot-note" }));
}

function scatterCanvas() {
  const canvas = element("canvas", { role: "img", class: "scatter" });
  const at = (event) => { const frame = canvas.getBoundingClientRect(); return [event.clientX - frame.left, event.clientY - frame.top]; };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); box = [...at(event), ...at(event)]; });
  canvas.addEventListener("pointermove", (event) => { if (box) { [box[2], box[3]] = at(event); draw(); } });
  canvas.addEventListener("pointerup", (event) => released(event, canvas));
  return canvas;
}

async function load() {
  if (state.layout !== "plot") return;
  const wanted = JSON.stringify(state.filters);
  asked = wanted;
  try {
    const found = await allRows(state.filters);
    if (asked !== wanted) return;
    data = found;
    build();
    draw();
  } catch (error) {
    failed(error);
  }
}

export function startPlot() {
  on("rows-new layout", load);
  on("axes", () => { build(); draw(); });
  on("current ticked", draw);
  new ResizeObserver(draw).observe(byId("plot"));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
