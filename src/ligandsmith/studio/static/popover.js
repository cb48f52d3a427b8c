// What can be done with the atom that was clicked in 3D.
"use strict";

import { nameOf } from "./molecules.js";
import { avoid, setMode, viewer } from "./scene.js";
import { byId, element } from "./shared/dom.js";
import { emit, state } from "./store.js";

const WORDS = { hbond: "hydrogen bond", pi: "π stacking", salt: "salt bridge", contact: "contact", metal: "metal" };
const CHARGED = ["ARG", "LYS", "ASP", "GLU"], RINGS = ["PHE", "TYR", "TRP", "HIS"];
const METALS = ["ZN", "MG", "MN", "FE", "CA", "CO", "NI", "CU"];

// The kinds of interaction that a residue can make, most likely one first.
export function kindsOf(name, element_ = "") {
  if (METALS.includes(name)) return ["metal"];
  const polar = ["N", "O", "S"].includes(element_);
  const kinds = [...(polar ? ["hbond"] : []), ...(CHARGED.includes(name) ? ["salt"] : []), ...(RINGS.includes(name) ? ["pi"] : []), "hbond", "contact"];
  return [...new Set(kinds)];
}

export const said = (kind) => WORDS[kind] || kind;

export function require(kind, residue) {
  const text = `${kind} ${residue}`;
  if (!state.require.includes(text)) state.require = [...state.require, text];
  emit("task");
}

export function closePopover() {
  byId("popover").hidden = true;
}

function button(text, act, css = "") {
  const node = element("button", { type: "button", class: css }, text);
  node.addEventListener("click", () => { closePopover(); act(); });
  return node;
}

function ofResidue({ atom, at, residue, het }) {
  const exact = ["N", "O"].includes(atom.elem) && !het ? `${residue}:${atom.atom}` : residue;
  const kinds = kindsOf(atom.resn, atom.elem);
  return [element("b", {}, `${residue} ${atom.atom}`),
    ...(het && !METALS.includes(atom.resn) ? [button("Use as site", () => emitSite({ het: residue }))] : [
      element("span", { class: "soft" }, "Require"),
      ...kinds.map((kind, k) => button(said(kind), () => require(kind, kind === "hbond" ? exact : residue), k ? "" : "primary"))]),
    button("Avoid this place", () => avoid(at))];
}

function startFrom(id, task, atom) {
  if (state.from[0] !== id) state.atoms = [];
  Object.assign(state, { task, from: [id], atoms: [...new Set([...state.atoms, atom.index + 1])] });
  setMode("atoms");
  emit("task");
}

function ofLigand({ atom, at, ligand }) {
  return [element("b", {}, `${nameOf(ligand)}, atom ${atom.elem}${atom.index + 1}`),
    button("Grow from here", () => startFrom(ligand, "grow", atom), "primary"),
    button("Replace from here", () => startFrom(ligand, "replace", atom)),
    button("Avoid this place", () => avoid(at))];
}

// Other modules set the site; this says which one.
function emitSite(site) {
  document.dispatchEvent(new CustomEvent("choose-site", { detail: site }));
}

export function popover(picked) {
  const place = byId("popover"), stage = byId("stage").getBoundingClientRect();
  place.replaceChildren(...(picked.ligand ? ofLigand(picked) : ofResidue(picked)));
  place.hidden = false;
  const at = viewer.gl.modelToScreen({ x: picked.at[0], y: picked.at[1], z: picked.at[2] });
  const left = at.x - stage.left - window.scrollX, top = at.y - stage.top - window.scrollY;
  place.style.left = `${Math.max(4, Math.min(left + 12, stage.width - place.offsetWidth - 4))}px`;
  place.style.top = `${Math.max(4, Math.min(top + 12, stage.height - place.offsetHeight - 4))}px`;
}
