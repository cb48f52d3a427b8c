// Picks the atoms of the starting molecule inside a line that is drawn around them.
"use strict";

import { toggleAtoms, viewer } from "./scene.js";
import { byId } from "./shared/dom.js";
import { state } from "./store.js";

function inside([x, y], line) {
  let within = false;
  line.forEach(([ax, ay], k) => {
    const [bx, by] = line[(k + 1) % line.length];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
  });
  return within;
}

function atomsInside(line) {
  const known = viewer.models.get(state.from[0]);
  if (!known) return [];
  return known.model.selectedAtoms({}).filter((atom) => {
    const at = viewer.gl.modelToScreen(atom);
    return inside([at.x, at.y], line);
  }).map((atom) => atom.index + 1);
}

export function lasso() {
  const canvas = byId("lasso"), box = canvas.parentElement.getBoundingClientRect();
  [canvas.width, canvas.height] = [box.width, box.height];
  canvas.hidden = false;
  const pen = canvas.getContext("2d");
  pen.strokeStyle = "#E69F00";
  pen.lineWidth = 2.5;
  let line = [];
  const add = (event) => {
    line.push([event.pageX, event.pageY]);
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (line.length === 1) { pen.beginPath(); pen.moveTo(x, y); } else { pen.lineTo(x, y); pen.stroke(); }
  };
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); line = []; add(event); };
  canvas.onpointermove = (event) => { if (line.length) add(event); };
  canvas.onpointerup = () => {
    canvas.hidden = true;
    const wanted = atomsInside(line).filter((n) => !state.atoms.includes(n));
    if (wanted.length) toggleAtoms(wanted);
  };
}
