// Keys, and the list of them.
"use strict";

import { openDialog, toast } from "./feedback.js";
import { closePopover } from "./popover.js";
import { rowOf, star, step } from "./results.js";
import { scene, setMode } from "./scene.js";
import { byId, element } from "./shared/dom.js";
import { lastAct, on, redo, setTicks, state, undo } from "./store.js";

const KEYS = [
  ["→ ←", "next, previous molecule"], ["Space", "tick the molecule"], ["s", "star the molecule"], ["/", "filter by a substructure"],
  ["Esc", "end picking, close"], ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo ticks, stars and filters"], ["?", "this list"],
  ["Drag, wheel", "rotate, zoom the 3D view"], ["Click in 3D", "require an interaction, grow from an atom, use a ligand as site"], ["Shift-click in 3D", "avoid this place"],
];

export function help() {
  const rows = KEYS.map(([keys, text]) => element("tr", {}, element("th", { scope: "row" }, element("kbd", {}, keys)), element("td", {}, text)));
  openDialog("Keys", element("div", {}, element("table", { class: "keys-table" }, element("tbody", {}, ...rows)),
    element("p", { class: "soft" }, "Everything that can be clicked can also be typed: the command line under the task is what is run, in the project's folder."),
    element("p", { class: "soft" }, "3D by ", element("a", { href: "/static/shared/3Dmol-LICENSE.txt" }, "3Dmol.js"), ", sketcher by ", element("a", { href: "/static/vendored/openchemlib-LICENSE.txt" }, "OpenChemLib"), ".")));
}

function escape() {
  closePopover();
  byId("jobs-panel").hidden = true;
  byId("lasso").hidden = true;
  if (state.mode) {
    Object.assign(scene, { residues: [], points: [] });
    setMode("");
  }
}

async function back(again) {
  if (again) {
    await redo();
    return;
  }
  const last = await undo();
  if (last) toast(`Undone: ${last.label}.`);
}

const ACTS = {
  ArrowRight: () => step(1), ArrowLeft: () => step(-1), "/": () => byId("filter").focus(), "?": help,
  s: () => { const row = rowOf(state.current); if (row) star(row); },
  " ": () => { if (state.current && state.current !== "reference") setTicks([state.current], !state.ticked.has(state.current), `tick ${state.current}`); },
};

function pressed(event) {
  if (byId("dialog").open) return;
  if (event.key === "Escape") { escape(); return; }
  const typing = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select");
  if (typing && !(event.ctrlKey && event.key.toLowerCase() === "z" && event.target.type === "range")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    back(event.shiftKey);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && event.target.closest("button, a, summary, input")) return;
  const act = ACTS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

export function startKeys() {
  document.addEventListener("keydown", pressed);
  byId("help-button").addEventListener("click", help);
  byId("undo").addEventListener("click", () => back(false));
  on("history", () => {
    const last = lastAct();
    byId("undo").disabled = !last;
    byId("undo").title = last ? `Undo: ${last.label} (Ctrl+Z)` : "Undo (Ctrl+Z)";
  });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
}
