// The sketcher: a dialog to draw or type a substructure. OpenChemLib is loaded when it is first opened.
"use strict";

import { failed, openDialog } from "./feedback.js";
import { element } from "./shared/dom.js";

let loading = null;
export function chemistry() {
  loading = loading || import("./vendored/openchemlib.js");
  return loading;
}

// A picture of a SMILES as the address of an image; empty where it cannot be read.
export async function drawing(smiles, width = 150, height = 105) {
  try {
    const { Molecule } = await chemistry();
    const svg = Molecule.fromSmiles(smiles).toSVG(width, height, undefined, { autoCrop: true, autoCropMargin: 6, suppressChiralText: true });
    return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  } catch (error) {
    return "";
  }
}

function patternOf(editor) {
  const drawn = editor.getMolecule();
  return drawn.getAllAtoms() ? drawn.toSmarts() : "";
}

// Calls `use` with SMARTS when the user is done. What is typed counts; what is drawn is typed for them.
export async function sketch(title, before, use) {
  let library;
  try {
    library = await chemistry();
    library.registerCustomElement();
  } catch (error) {
    failed(new Error("The sketcher could not be loaded; type the pattern instead."));
    return;
  }
  const editor = document.createElement("openchemlib-editor");
  editor.setAttribute("fragment", "");
  const text = element("input", { type: "text", value: before, spellcheck: false, autocapitalize: "off", id: "sketch-text", placeholder: "SMARTS or SMILES" });
  const problem = element("p", { class: "problem", hidden: true, role: "alert" });
  const done = element("button", { type: "button", class: "primary" }, "Use it");
  const clear = element("button", { type: "button" }, "Clear");
  const content = element("div", { class: "sketch" }, element("div", { class: "editor" }, editor),
    element("label", { class: "row" }, element("span", {}, "Pattern"), text), problem, element("div", { class: "toolbar" }, done, clear));
  const dialog = openDialog(title, content, "sketch-dialog");
  const show = (pattern) => {
    try {
      const drawn = library.Molecule.fromSmiles(pattern);
      drawn.setFragment(true);
      editor.setMolecule(drawn);
      problem.hidden = true;
    } catch (error) {
      problem.textContent = "The sketcher cannot draw this pattern; it is used as typed.";
      problem.hidden = false;
    }
  };
  if (before) show(before);
  editor.addEventListener("change", () => { text.value = patternOf(editor); problem.hidden = true; });
  text.addEventListener("change", () => { if (text.value.trim()) show(text.value.trim()); });
  clear.addEventListener("click", () => { editor.clearAll(); text.value = ""; });
  done.addEventListener("click", () => { dialog.close(); if (text.value.trim()) use(text.value.trim()); });
}
