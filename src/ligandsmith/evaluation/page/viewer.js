// The 3D view of the report and of the studio. Needs 3Dmol.js, which sets $3Dmol.
"use strict";

export const COLOURS = { molecule: "#009E73", reference: "#CC79A7", ticked: "#56B4E9", protein: "#8c959f", mark: "#E69F00", avoid: "#D55E00" };
const ELEMENTS = { H: "#d0d0d0", N: "#3050F8", O: "#E0301E", S: "#C8A800", P: "#FF8000", F: "#7BC043", CL: "#1FA01F", BR: "#A62929", I: "#940094", B: "#FFB5B5" };

// Colours by element, carbons in the colour of the molecule.
export function palette(carbon) {
  const map = { C: carbon, ...ELEMENTS };
  for (const symbol of Object.keys(ELEMENTS)) map[symbol[0] + symbol.slice(1).toLowerCase()] = ELEMENTS[symbol];
  return { prop: "elem", map };
}

export function sticks(carbon, radius, ball = 0) {
  const colorscheme = palette(carbon);
  return { stick: { radius, colorscheme }, ...(ball ? { sphere: { radius: ball, colorscheme } } : {}) };
}

// A molfile without its title, as an entry of Viewer.draw.
export function molecule(key, molfile, carbon, radius, ball = 0) {
  return { key, text: `molecule\n${molfile}`, format: "sdf", styles: [[{}, sticks(carbon, radius, ball)]] };
}

export class Viewer {
  // `note`: the element that says what cannot be shown.
  constructor(stage, note) {
    this.stage = stage;
    this.note = note;
    this.models = new Map();
    this.gl = this.#create();
    this.scene = null;
    this.surface = "null";
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.scene && this.draw(this.scene));
  }

  #create() {
    try {
      const probe = document.createElement("canvas");
      const context = probe.getContext("webgl2") || probe.getContext("webgl");
      if (!context) throw new Error("no WebGL");
      const smooth = !drawnBySoftware(context);
      const gl = $3Dmol.createViewer(this.stage, { backgroundColor: this.#background(), antialias: smooth, cartoonQuality: smooth ? 10 : 5 });
      if (gl) return gl;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
    this.say("This browser draws no WebGL, so there is no 3D view. Tables and downloads work.");
    return null;
  }

  #background() {
    return getComputedStyle(document.documentElement).getPropertyValue("--stage").trim() || "#ffffff";
  }

  say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  // Draws models {key, text, format, styles: [[selection, style]], pick?}, contacts {residue, colour, from, to},
  // spheres {center, radius, colour, opacity?}, labels {text, at} and a surface {model, selection}. A model that stays
  // as it is, is not built again.
  draw(scene) {
    this.scene = scene;
    if (!this.gl) return;
    this.#drawModels(scene.models);
    this.gl.removeAllShapes();
    this.gl.removeAllLabels();
    this.#drawContacts(scene.contacts || [], scene.labelled);
    for (const { center, radius, colour, opacity = 0.35, wireframe = false } of scene.spheres || []) {
      this.gl.addSphere({ center: place(center), radius, color: colour, opacity, wireframe });
    }
    for (const { text, at } of scene.labels || []) this.#label(text, at);
    this.#drawSurface(scene.surface || null);
    this.gl.setBackgroundColor(this.#background());
    this.gl.render();
  }

  #drawModels(wanted) {
    const keys = new Set(wanted.map((entry) => entry.key));
    for (const [key, { model }] of [...this.models]) {
      if (keys.has(key)) continue;
      this.gl.removeModel(model);
      this.models.delete(key);
    }
    for (const entry of wanted) {
      const look = JSON.stringify([entry.styles, Boolean(entry.pick)]);
      let known = this.models.get(entry.key);
      if (known && known.text !== entry.text) {
        this.gl.removeModel(known.model);
        known = undefined;
      }
      if (!known) known = { model: this.gl.addModel(entry.text, entry.format, { keepH: true }), text: entry.text, look: "" };
      if (known.look !== look) {
        known.model.setStyle({}, {});
        for (const [selection, style] of entry.styles) known.model.setStyle(selection, style, true);
        known.model.setClickable({}, Boolean(entry.pick), (atom, _, event) => known.pick(atom, event));
      }
      known.look = look;
      known.pick = entry.pick;
      this.models.set(entry.key, known);
    }
  }

  #drawSurface(wanted) {
    const look = JSON.stringify(wanted);
    if (look === this.surface) return;
    this.surface = look;
    this.gl.removeAllSurfaces();
    const known = wanted && this.models.get(wanted.model);
    if (known) this.gl.addSurface($3Dmol.SurfaceType.VDW, { opacity: 0.7, color: COLOURS.protein }, { ...wanted.selection, model: known.model });
  }

  #drawContacts(contacts, labelled) {
    const named = new Set();
    for (const { residue, colour, from, to } of contacts) {
      this.gl.addCylinder({ start: place(from), end: place(to), radius: 0.07, dashed: true, dashLength: 0.22, gapLength: 0.18, fromCap: 1, toCap: 1, color: colour });
      if (!labelled || named.has(residue)) continue;
      named.add(residue);
      this.#label(residue, to);
    }
  }

  #label(text, at) {
    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    this.gl.addLabel(text, { position: place(at), fontSize: 11, fontColor: dark ? "#ffffff" : "#1b1f24", backgroundColor: this.#background(), backgroundOpacity: 0.75, inFront: true, alignment: "bottomCenter" });
  }

  // Looks at a model, or at atoms of it that `selection` names.
  zoomTo(key, zoom = 1, selection = {}) {
    const known = this.models.get(key);
    if (!known) return;
    this.gl.zoomTo({ ...selection, model: known.model });
    if (zoom !== 1) this.gl.zoom(zoom);
    this.gl.render();
  }
}

// Whether there is no graphics chip, so that every pixel counts.
function drawnBySoftware(context) {
  const names = context.getExtension("WEBGL_debug_renderer_info");
  const renderer = names ? String(context.getParameter(names.UNMASKED_RENDERER_WEBGL)) : "";
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software/i.test(renderer);
}

const place = ([x, y, z]) => ({ x, y, z });
