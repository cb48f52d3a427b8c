// All molecules as lines across several properties: a drag along an axis keeps those that pass there.
"use strict";

import { counted, element } from "./shared/dom.js";
import { setFilters, state } from "./store.js";

const FAVOURITES = ["vina_min", "vina_dock", "qed", "sa", "logp", "heavy_atoms", "strain_uff"];
const SPACE = 66;  // px between axes, at least
const EDGE = { side: 46, top: 38, bottom: 16 };  // px
const NEAR = 24;  // px, from a drag to an axis

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const text = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

function axesOf({ rows, columns }, width, height) {
  const known = FAVOURITES.map((name) => columns.find((column) => column.name === name)).filter(Boolean);
  const used = known.filter(({ name }) => rows.some((row) => typeof row.values[name] === "number")).slice(0, Math.floor((width - 2 * EDGE.side) / SPACE) + 1);
  const step = (width - 2 * EDGE.side) / Math.max(used.length - 1, 1);
  return used.map(({ name, label, better }, k) => {
    const values = rows.map((row) => row.values[name]).filter((value) => typeof value === "number");
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    const span = high - low || 1, up = better !== "lower";  // the better end is above
    const at = (value) => { const share = (value - low) / span; return EDGE.top + (up ? 1 - share : share) * (height - EDGE.top - EDGE.bottom); };
    const value = (y) => { const share = (y - EDGE.top) / (height - EDGE.top - EDGE.bottom); return low + (up ? 1 - share : share) * span; };
    return { name, label, better, low, high, up, x: EDGE.side + k * step, at, value };
  });
}

function drawLine(pen, axes, row, strong) {
  pen.beginPath();
  let going = false;
  for (const axis of axes) {
    const value = row.values[axis.name];
    if (typeof value !== "number") { going = false; continue; }
    if (going) pen.lineTo(axis.x, axis.at(value)); else pen.moveTo(axis.x, axis.at(value));
    going = true;
  }
  pen.strokeStyle = row.id === state.current ? colour("--ink") : state.ticked.has(row.id) ? colour("--orange") : colour("--bar");
  pen.lineWidth = strong ? 2.5 : 1;
  pen.stroke();
}

export function drawParallel(canvas, data, drag) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * devicePixelRatio, height * devicePixelRatio];
  const pen = canvas.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  const axes = canvas.axes = data.rows.length ? axesOf(data, width, height) : [];
  const strong = (row) => row.id === state.current || state.ticked.has(row.id);
  pen.globalAlpha = Math.min(0.75, Math.max(0.03, 60 / data.rows.length));
  for (const row of data.rows) if (!strong(row)) drawLine(pen, axes, row, false);
  pen.globalAlpha = 1;
  for (const row of data.rows) if (strong(row)) drawLine(pen, axes, row, true);
  pen.font = "12px system-ui, sans-serif";
  pen.textAlign = "center";
  for (const { label, better, low, high, up, x } of axes) {
    pen.strokeStyle = pen.fillStyle = colour("--soft");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x, EDGE.top);
    pen.lineTo(x, height - EDGE.bottom);
    pen.stroke();
    pen.fillText(`${label.replace("heavy atoms", "atoms").replace(" score", "")}${better === "lower" ? " ↓" : better ? " ↑" : ""}`, x, 13);
    pen.fillText(text(up ? high : low), x, EDGE.top - 7);
    pen.fillText(text(up ? low : high), x, height - 3);
  }
  if (drag) { pen.fillStyle = colour("--orange"); pen.globalAlpha = 0.35; pen.fillRect(drag.axis.x - 8, Math.min(drag.from, drag.to), 16, Math.abs(drag.to - drag.from)); }
  canvas.setAttribute("aria-label", `${counted(data.rows.length)} across ${axes.map((axis) => axis.label).join(", ")}. The table shows the same values.`);
}

export function parallelCanvas(data) {
  const canvas = element("canvas", { role: "img", class: "scatter parallel" });
  let drag = null;
  const at = (event) => { const frame = canvas.getBoundingClientRect(); return [event.clientX - frame.left, event.clientY - frame.top]; };
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = at(event);
    const axis = (canvas.axes || []).find((each) => Math.abs(each.x - x) < NEAR);
    if (!axis) return;
    canvas.setPointerCapture(event.pointerId);
    drag = { axis, from: y, to: y };
  });
  canvas.addEventListener("pointermove", (event) => { if (drag) { drag.to = at(event)[1]; drawParallel(canvas, data(), drag); } });
  canvas.addEventListener("pointerup", () => {
    const done = drag;
    drag = null;
    if (!done || Math.abs(done.to - done.from) < 5) return;
    const range = [done.axis.value(done.from), done.axis.value(done.to)].sort((a, b) => a - b).map((value) => Number(value.toPrecision(4)));
    setFilters({ ranges: { ...state.filters.ranges, [done.axis.name]: range } }, `keep a range of ${done.axis.label}`);
  });
  return canvas;
}
