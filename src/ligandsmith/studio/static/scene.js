// The 3D view: what is drawn of the state, and what a click on it does.
"use strict";

import { failed } from "./feedback.js";
import { heavyAtoms, residuesNear } from "./geometry.js";
import { contactsOf, proteinText, structureOf } from "./molecules.js";
import { popover } from "./popover.js";
import { byId, element } from "./shared/dom.js";
import { COLOURS, molecule, sticks, Viewer } from "./shared/viewer.js";
import { emit, on, state } from "./store.js";

const MOST_TICKED = 20;
const BESIDE = 5.0;  // Å, from the ligand to residues that are shown as sticks
const AVOIDED = 2.0;  // Å, radius of a region that is avoided
const KINDS = {  // colours of Okabe and Ito; the last one on a dark ground
  hbond: ["hydrogen bond", "#0072B2", "#56B4E9"], pi: ["π", "#CC79A7"], salt: ["salt bridge", "#D55E00"],
  halogen: ["halogen bond", "#8E6BBF"], metal: ["metal", "#009E73"], hydrophobic: ["hydrophobic", "#E69F00"],
};
const STARTS = [["hydrogen", "hbond"], ["hb", "hbond"], ["pi", "pi"], ["cationpi", "pi"], ["face", "pi"], ["edge", "pi"], ["salt", "salt"], ["ionic", "salt"],
  ["cation", "salt"], ["anion", "salt"], ["xb", "halogen"], ["halogen", "halogen"], ["metal", "metal"], ["hydrophobic", "hydrophobic"]];
const OTHER = ["contact", "#999999"];
export const STEPS = { residues: "Click residues to add or remove them.", point: "Click atoms; the site's centre is their mean.", atoms: "" };

export const viewer = new Viewer(byId("stage"), byId("stage-note"));
export const scene = { site: null, residues: [], points: [], suggestions: [], protein: "", contacts: { id: "", found: [] } };
let turn = 0;  // of the drawings; a later one overtakes
let waiting = 0;
let centred = "";

export function parsed(residue) {
  const match = /^([^:]*):(\S{1,3}?)(-?\d+)([A-Za-z]?)$/.exec(residue);
  return match ? { chain: match[1], resn: match[2], resi: Number(match[3]) } : null;
}

const selectionOf = (residues) => ({ or: residues.map(parsed).filter(Boolean).map(({ chain, resi }) => ({ chain, resi })) });
const residueOf = (atom) => `${atom.chain}:${atom.resn}${atom.resi}`;

export function kindOf(name) {
  const plain = name.toLowerCase().replace(/[^a-z]/g, "");
  const start = STARTS.filter(([text]) => plain.startsWith(text)).sort((a, b) => b[0].length - a[0].length)[0];
  const [said, ...colours] = start ? KINDS[start[1]] : OTHER;
  return [said, window.matchMedia("(prefers-color-scheme: dark)").matches ? colours.at(-1) : colours[0]];
}

function proteinModel(ligand) {
  const styles = [];
  const pocket = scene.site ? scene.site.residues : [];
  if (byId("show-cartoon").checked || !pocket.length) styles.push([{ hetflag: false }, { cartoon: { color: COLOURS.protein, opacity: pocket.length ? 0.55 : 1 } }]);
  styles.push([{ hetflag: true, not: { resn: ["HOH", "WAT", "DOD"] } }, sticks("#b39ddb", 0.1)]);
  if (pocket.length && byId("show-pocket").checked) styles.push([selectionOf(near(pocket, ligand)), sticks(COLOURS.protein, 0.08)]);
  const marked = [...scene.residues, ...state.require.map((text) => text.split(" ")[1].split(":").slice(0, 2).join(":"))];
  if (marked.length) styles.push([selectionOf(marked), sticks(COLOURS.mark, 0.16)]);
  return { key: "protein", text: scene.protein, format: "pdb", styles, pick: pickProtein };
}

// Of the residues of the pocket, those beside the ligand that is shown; all where none is.
function near(pocket, ligand) {
  if (!ligand) return pocket;
  const found = residuesNear(scene.protein, heavyAtoms(ligand.text), BESIDE);
  const kept = pocket.filter((residue) => found.has(residue));
  return kept.length ? kept : pocket;
}

function ligandModel(key, text, carbon, radius, ball) {
  const model = molecule(key, text.split("\n").slice(1).join("\n"), carbon, radius, ball);
  if (key === state.from[0] && state.atoms.length) {
    model.styles.push([{ index: state.atoms.map((n) => n - 1) }, { sphere: { radius: 0.42, color: COLOURS.mark } }]);
  }
  model.pick = (atom, event) => pickLigand(key, atom, event);
  return model;
}

function wantedLigands() {
  const wanted = new Map();
  const put = (id, ...look) => { if (id && !wanted.has(id)) wanted.set(id, look); };
  put(state.current, COLOURS.molecule, 0.16, 0.26);
  if (state.mode === "atoms" || state.atoms.length) put(state.from[0], COLOURS.molecule, 0.16, 0.26);
  if (byId("show-reference").checked && state.project.reference) put("reference", COLOURS.reference, 0.1, 0);
  if (byId("show-ticked").checked) for (const id of [...state.ticked].slice(0, MOST_TICKED)) put(id, COLOURS.ticked, 0.08, 0);
  return wanted;
}

async function ligands() {
  const wanted = wantedLigands();
  const texts = await Promise.allSettled([...wanted.keys()].map(structureOf));
  return [...wanted].flatMap(([id, look], k) => (texts[k].status === "fulfilled" ? [ligandModel(id, texts[k].value, ...look)] : []));
}

// The contacts of the molecule that is shown; those that the server still looks for are drawn when they come.
function contacts() {
  if (!byId("show-contacts").checked || !state.project.protein) return [];
  const id = state.current || (state.project.reference && scene.site && byId("show-reference").checked ? "reference" : "");
  if (id !== scene.contacts.id) {
    const mine = scene.contacts = { id, found: [] };
    if (id) contactsOf(id).then((found) => { mine.found = found; if (scene.contacts === mine) soon(); }).catch(() => null);
  }
  return scene.contacts.found.map((each) => ({ ...each, name: kindOf(each.kind)[0], colour: kindOf(each.kind)[1] }));
}

function spheres() {
  const found = state.exclude.map(([x, y, z, radius]) => ({ center: [x, y, z], radius, colour: COLOURS.avoid }));
  if (scene.points.length) found.push({ center: middle(scene.points), radius: 1, colour: COLOURS.mark, opacity: 0.8 });
  else if (scene.site && state.project.site && state.project.site.center) found.push({ center: scene.site.center, radius: 0.6, colour: COLOURS.mark, opacity: 0.8 });
  for (const { center } of scene.suggestions) found.push({ center, radius: 2, colour: COLOURS.ticked, opacity: 0.5 });
  return found;
}

export const middle = (points) => [0, 1, 2].map((k) => Number((points.reduce((sum, point) => sum + point[k], 0) / points.length).toFixed(2)));

async function draw() {
  if (!state.project) return;
  turn += 1;
  const mine = turn;
  const { protein } = state.project;
  const [found, text] = await Promise.all([ligands(), protein ? proteinText(`${protein.file} ${protein.num_atoms}`) : ""]);
  if (mine !== turn) return;
  scene.protein = text;
  const lines = contacts();
  const labels = scene.suggestions.map(({ center }, k) => ({ text: `site ${k + 1}`, at: center }));
  viewer.draw({
    models: found.concat(text ? [proteinModel(found[0])] : []), contacts: lines, labelled: byId("show-labels").checked, spheres: spheres(), labels,
    surface: byId("show-surface").checked && scene.site ? { model: "protein", selection: selectionOf(scene.site.residues) } : null,
  });
  if (viewer.gl) viewer.say(state.project.protein ? "" : "No protein yet. Drop a PDB or mmCIF file anywhere on this page.");
  drawLegend(lines);
  look(false);
  byId("stage").ariaBusy = "false";
}

// Turns to the molecule, else to the site, else to the whole protein; once for each.
export function look(again) {
  const site = scene.site ? selectionOf(scene.site.residues) : null;
  const place = site ? `${scene.site.center}` : state.project.protein ? "protein" : "";
  if (!again && place === centred) return;
  centred = place;
  const shown = [state.current, state.from[0], "reference"].find((id) => id && viewer.models.has(id));
  if (site && shown) viewer.zoomTo(shown, 0.62);
  else if (site) viewer.zoomTo("protein", 0.9, site);
  else viewer.zoomTo("protein");
}

function drawLegend(lines) {
  const counts = new Map();
  for (const { name, colour } of lines) counts.set(name, [colour, ((counts.get(name) || [0, 0])[1]) + 1]);
  const key = (colour, text, solid) => {
    const line = element("i", { class: solid ? "solid" : "" });
    line.style.borderTopColor = colour;
    return element("span", {}, line, ` ${text}`);
  };
  const items = [];
  const drawn = new Map([...wantedLigands()].map(([id, [colour]]) => [colour === COLOURS.ticked ? "ticked" : id, colour]));
  for (const [text, colour] of drawn) items.push(key(colour, text, true));
  if (state.exclude.length) items.push(key(COLOURS.avoid, "avoid", true));
  for (const [name, [colour, count]] of counts) items.push(key(colour, `${name} ${count}`, false));
  byId("legend").replaceChildren(...items);
}

// --- clicks

function pickProtein(atom, event) {
  const at = [atom.x, atom.y, atom.z], residue = residueOf(atom);
  if (state.mode === "residues") {
    scene.residues = scene.residues.includes(residue) ? scene.residues.filter((other) => other !== residue) : [...scene.residues, residue];
    emit("picks");
  } else if (state.mode === "point") {
    scene.points = [...scene.points, at];
    emit("picks");
  } else if (event && event.shiftKey) avoid(at);
  else popover({ atom, at, residue, ligand: "", het: Boolean(atom.hetflag) });
}

function pickLigand(id, atom, event) {
  const at = [atom.x, atom.y, atom.z];
  if (state.mode === "atoms") {
    if (id === state.from[0]) toggleAtoms([atom.index + 1]);
  } else if (state.mode === "point") {
    scene.points = [...scene.points, at];
    emit("picks");
  } else if (event && event.shiftKey) avoid(at);
  else popover({ atom, at, residue: "", ligand: id, het: false });
}

export function toggleAtoms(numbers) {
  const chosen = new Set(state.atoms);
  for (const n of numbers) if (chosen.has(n)) chosen.delete(n); else chosen.add(n);
  state.atoms = [...chosen].sort((a, b) => a - b);
  emit("task");
}

export function avoid(at) {
  state.exclude = [...state.exclude, [...at.map((x) => Number(x.toFixed(2))), AVOIDED]];
  emit("task");
}

export function setMode(mode) {
  state.mode = mode;
  emit("mode");
}

// Several changes at a time are one picture.
function soon() {
  byId("stage").ariaBusy = "true";
  waiting = waiting || setTimeout(() => { waiting = 0; draw().catch(failed); }, 0);
}

export function startScene() {
  for (const id of ["show-cartoon", "show-pocket", "show-surface", "show-reference", "show-contacts", "show-labels", "show-ticked"]) {
    byId(id).addEventListener("change", soon);
  }
  byId("centre").addEventListener("click", () => look(true));
  on("project site current ticked task picks mode", soon);
}
