// The protein and the choice of the site: a ligand, residues, a point, or a place that a pocket finder suggests.
"use strict";

import { api } from "./api.js";
import { failed, toast } from "./feedback.js";
import { forget } from "./molecules.js";
import { middle, scene, setMode } from "./scene.js";
import { byId, element } from "./shared/dom.js";
import { emit, on, state } from "./store.js";

const path = (rest) => `/api/projects/${state.id}/${rest}`;

function button(text, act, css = "") {
  const node = element("button", { type: "button", class: css }, text);
  node.addEventListener("click", act);
  return node;
}

// --- protein

function drawProtein() {
  const { protein, reference } = state.project;
  const parts = [];
  if (protein) {
    const residues = protein.chains.reduce((sum, chain) => sum + chain.residues, 0);
    parts.push(element("p", {}, element("b", {}, protein.name || protein.file), element("br"),
      element("span", { class: "soft" }, `${protein.chains.map((chain) => chain.name).join(", ")} · ${residues} residues · ${protein.num_atoms} atoms`)));
    if (protein.notes.length) parts.push(element("details", {}, element("summary", {}, "What was read"), ...protein.notes.map((note) => element("p", { class: "soft" }, note))));
  } else {
    parts.push(element("p", { class: "teach" }, "Drop a PDB or mmCIF file anywhere on this page."));
  }
  if (reference) {
    const show = button("Show", () => { state.current = "reference"; emit("current"); }, "ghost small");
    parts.push(element("p", { class: "toolbar" }, `Reference ligand, ${reference.heavy_atoms} atoms`, show));
  }
  parts.push(button(protein ? "Add or replace files" : "Choose files", () => byId("structure-files").click(), "small"));
  byId("protein").replaceChildren(...parts);
}

export async function takeFiles(files) {
  if (!files.length) return;
  const ligands = files.every((file) => /\.(sdf|mol2?)(\.gz)?$/i.test(file.name));
  try {
    if (ligands && state.project.protein && (state.project.reference || files.length > 1)) return await score(files);
    state.project = await api.upload(path("structures"), files);
    forget();
    emit("project");
    await preview();
  } catch (error) {
    failed(error);
  }
  return undefined;
}

async function score(files) {
  for (const file of files) await api.upload(path("molecules"), [file]);
  toast(`${files.map((file) => file.name).join(", ")}: its molecules are scored, as those that are made here.`);
  emit("started");
}

// --- site

export async function preview() {
  const { site } = state.project;
  scene.site = site ? await api.post(path("sites:preview"), site) : null;
  emit("site");
}

export async function choose(site) {
  try {
    state.project = await api.put(path("site"), site);
    Object.assign(scene, { residues: [], points: [], suggestions: [] });
    if (["residues", "point"].includes(state.mode)) setMode("");
    emit("project");
    await preview();
  } catch (error) {
    failed(error);
  }
}

async function suggest() {
  try {
    const found = await api.get(path("sites:suggest"));
    scene.suggestions = found;
    if (!found.length) toast("No pocket was found.");
    emit("picks");
  } catch (error) {
    failed(error);
  }
}

function option(text, aside, chosen, act) {
  const box = element("input", { type: "radio", name: "site", checked: chosen });
  box.addEventListener("change", act);
  return element("label", { class: "option" }, box, element("span", {}, text), element("span", { class: "soft" }, aside));
}

function options() {
  const { protein, reference, site } = state.project;
  const is = (test) => Boolean(site && !["residues", "point"].includes(state.mode) && test(site));
  const found = [];
  if (reference) found.push(option("Around the reference ligand", "", is((s) => s.ligand), () => choose({ ligand: true })));
  for (const ligand of protein.ligands) {
    found.push(option(`Around ${ligand.id}`, `${ligand.kind || "ligand"}, ${ligand.heavy_atoms} atoms`, is((s) => s.het === ligand.id), () => choose({ het: ligand.id })));
  }
  found.push(option("Residues", "click them in 3D", state.mode === "residues" || is((s) => s.residues), () => { scene.residues = [...((site && site.residues) || [])]; setMode("residues"); }));
  found.push(option("A point", "click atoms in 3D", state.mode === "point" || is((s) => s.center), () => { scene.points = []; setMode("point"); }));
  scene.suggestions.forEach(({ center, score, source }, k) => {
    found.push(option(`Suggested site ${k + 1}`, [source, Number.isFinite(score) ? score.toFixed(2) : ""].filter(Boolean).join(", "), is((s) => s.center && s.center.join() === center.join()), () => choose({ center })));
  });
  return found;
}

function residuesForm() {
  const box = element("input", { type: "text", value: scene.residues.join(" "), placeholder: "A:SER508 A:ARG415", spellcheck: false, "aria-label": "Residues of the site" });
  box.addEventListener("change", () => { scene.residues = box.value.split(/[\s,]+/).filter(Boolean); emit("picks"); });
  const use = button("Use these residues", () => choose({ residues: scene.residues }), "primary");
  use.disabled = !scene.residues.length;
  return element("div", { class: "sub" }, box, use);
}

function pointForm() {
  const site = state.project.site || {};
  const center = scene.points.length ? middle(scene.points) : site.center || null;
  const box = element("input", { type: "text", value: center ? center.join(", ") : "", placeholder: "x, y, z in Å", "aria-label": "Centre of the site" });
  const radius = element("input", { type: "number", min: "2", max: "20", step: "0.5", value: String(site.radius || 10), "aria-label": "Radius in Å" });
  const use = button("Use this point", () => {
    const xyz = box.value.split(/[\s,;]+/).filter(Boolean).map(Number);
    if (xyz.length !== 3 || xyz.some((x) => !Number.isFinite(x))) { toast("Write the centre as three numbers: x, y, z.", { bad: true }); return; }
    choose({ center: xyz, radius: Number(radius.value) });
  }, "primary");
  return element("div", { class: "sub" }, box, element("label", { class: "row" }, "Radius (Å) ", radius), use);
}

function summary() {
  const { site } = scene;
  if (!site) return element("p", { class: "teach" }, "Choose where the ligands shall lie.");
  const list = element("p", { class: "soft residues" }, site.residues.join(" "));
  return element("details", { class: "site-summary" }, element("summary", {}, `${site.residues.length} residues, ${site.num_atoms} atoms`),
    list, ...site.notes.map((note) => element("p", { class: "soft" }, note)));
}

function drawSite() {
  if (!state.project.protein) {
    byId("site").replaceChildren(element("p", { class: "soft" }, "Needs a protein."));
    return;
  }
  const form = state.mode === "residues" ? [residuesForm()] : state.mode === "point" ? [pointForm()] : [];
  const none = state.project.reference || state.project.protein.ligands.length;
  byId("site").replaceChildren(...options(), ...form, button(none ? "Suggest other sites" : "Suggest sites", suggest, "small"), summary());
}

export function startSite() {
  byId("structure-files").addEventListener("change", (event) => { takeFiles([...event.target.files]); event.target.value = ""; });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    takeFiles([...event.dataTransfer.files]);
  });
  document.addEventListener("choose-site", (event) => choose(event.detail));
  on("project", drawProtein);
  on("project site mode picks", drawSite);
}
