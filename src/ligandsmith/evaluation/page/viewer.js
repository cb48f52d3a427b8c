// The 3D view: pocket, molecule, reference, interactions. Needs 3Dmol.js and Report (table.js).
"use strict";
(() => {
  const { data, rows, metrics, state, element, format, name, byId } = Report;
  const MOLECULE = "#009E73", REFERENCE = "#CC79A7", TICKED = "#56B4E9", PROTEIN = "#8c959f";
  const MOST_TICKED = 20;
  const QUIET = "van der Waals contact";
  const ELEMENTS = { N: "#3050F8", O: "#E0301E", S: "#C8A800", P: "#FF8000", F: "#7BC043", CL: "#1FA01F", BR: "#A62929", I: "#940094", B: "#FFB5B5" };
  const hiddenKinds = new Set(data.kinds.map((kind, k) => (kind.name === QUIET ? k : -1)));
  const stageColour = () => getComputedStyle(document.documentElement).getPropertyValue("--stage").trim() || "#ffffff";
  const dark = () => window.matchMedia("(prefers-color-scheme: dark)").matches;
  let viewer = null;
  let centred = null;

  function palette(carbon) {
    const map = { C: carbon, H: "#d0d0d0", ...ELEMENTS };
    for (const symbol of Object.keys(ELEMENTS)) map[symbol[0] + symbol.slice(1).toLowerCase()] = ELEMENTS[symbol];
    return { prop: "elem", map };
  }

  function note(text) {
    byId("stage-note").textContent = text;
    byId("stage-note").hidden = !text;
  }

  function addMolecule(molfile, carbon, thickness, ball) {
    const model = viewer.addModel(`molecule\n${molfile}`, "sdf", { keepH: true });
    const colorscheme = palette(carbon);
    model.setStyle({}, { stick: { radius: thickness, colorscheme }, ...(ball ? { sphere: { radius: ball, colorscheme } } : {}) });
    return model;
  }

  function addInteractions(found, labels) {
    const named = new Set();
    for (const [kind, , residue, ax, ay, az, bx, by, bz] of found) {
      if (hiddenKinds.has(kind)) continue;
      const start = { x: ax, y: ay, z: az }, end = { x: bx, y: by, z: bz };
      viewer.addCylinder({ start, end, radius: 0.07, dashed: true, dashLength: 0.22, gapLength: 0.18, fromCap: 1, toCap: 1, color: data.kinds[kind].colour });
      if (!labels || named.has(residue)) continue;
      named.add(residue);
      viewer.addLabel(residue, { position: end, fontSize: 11, fontColor: dark() ? "#ffffff" : "#1b1f24", backgroundColor: stageColour(), backgroundOpacity: 0.75, inFront: true, alignment: "bottomCenter" });
    }
  }

  function draw() {
    if (!viewer) return;
    const row = state.current;
    viewer.removeAllModels();
    viewer.removeAllShapes();
    viewer.removeAllLabels();
    if (row) drawSite(row);
    viewer.setBackgroundColor(stageColour());
    viewer.render();
  }

  function drawSite(row) {
    const site = row.site;
    if (site.pdb && byId("show-pocket").checked) {
      viewer.addModel(site.pdb, "pdb").setStyle({}, { stick: { radius: 0.07, colorscheme: palette(PROTEIN) } });
    }
    if (site.reference && byId("show-reference").checked) {
      const model = addMolecule(site.reference, REFERENCE, 0.09, 0);
      if (!row.structure && centred !== site) { viewer.zoomTo({ model }); centred = site; }
    }
    if (byId("show-ticked").checked) {
      const others = rows.filter((other) => state.ticked.has(other.k) && other !== row && other.site === site);
      for (const other of others.slice(0, MOST_TICKED)) addMolecule(other.structure[1], TICKED, 0.06, 0);
    }
    if (row.structure) {
      const model = addMolecule(row.structure[1], MOLECULE, 0.16, 0.26);
      if (centred !== site) { viewer.zoomTo({ model }); viewer.zoom(0.72); centred = site; }
      addInteractions(row.structure[2] || [], byId("show-labels").checked);
    }
    if (byId("show-reference-interactions").checked) addInteractions(site.interactions || [], byId("show-labels").checked);
    const gaps = [row.structure ? "" : "The coordinates of this molecule are not in this page (see molecules.sdf).",
      site.pdb ? "" : "No protein around this pocket in this page."];
    note(gaps.filter(Boolean).join(" "));
    byId("stage").setAttribute("aria-label", `3D view of ${name(row)} in ${site.name || "its pocket"}`);
  }

  function key(colour, text, solid) {
    const line = element("i", solid ? { class: "solid" } : {});
    line.style.borderTopColor = colour;
    return [line, text];
  }

  function drawLegend() {
    const row = state.current;
    const found = (row && row.structure && row.structure[2]) || [];
    const own = row && row.site.interactions && byId("show-reference-interactions").checked ? row.site.interactions : [];
    const counts = new Map();
    for (const [kind] of [...found, ...own]) counts.set(kind, (counts.get(kind) || 0) + 1);
    const items = [element("span", {}, ...key(MOLECULE, " molecule", true))];
    if (row && row.site.reference && byId("show-reference").checked) items.push(element("span", {}, ...key(REFERENCE, " reference", true)));
    if (byId("show-ticked").checked) items.push(element("span", {}, ...key(TICKED, " ticked", true)));
    for (const [kind, count] of [...counts].sort(([a], [b]) => a - b)) {
      const box = element("input", { type: "checkbox", checked: !hiddenKinds.has(kind) });
      box.addEventListener("change", () => { if (box.checked) hiddenKinds.delete(kind); else hiddenKinds.add(kind); draw(); });
      items.push(element("label", {}, box, ...key(data.kinds[kind].colour, `${data.kinds[kind].name} (${count})`)));
    }
    if (row && row.structure && row.structure[2] === null) items.push(element("span", {}, "interactions: not computed"));
    else if (row && row.structure && !counts.size) items.push(element("span", {}, "no interactions found"));
    byId("legend").replaceChildren(...items);
  }

  function drawDetails() {
    const row = state.current;
    if (!row) { byId("details").replaceChildren(element("p", {}, rows.length ? "Choose a molecule in the table." : "There is no valid molecule to show.")); return; }
    const parts = [element("h3", {}, `${name(row)} `), element("p", {}, `${row.site.name} · index ${row.index} · rank ${row.k + 1}`),
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

  function all() { draw(); drawLegend(); drawDetails(); }

  function create() {
    try {
      const probe = document.createElement("canvas");
      if (!probe.getContext("webgl2") && !probe.getContext("webgl")) throw new Error("no WebGL");
      viewer = $3Dmol.createViewer(byId("stage"), { backgroundColor: stageColour(), antialias: true });
      if (!viewer) throw new Error("no WebGL");
    } catch (error) {
      viewer = null;
      note("This browser draws no WebGL, so there is no 3D view. Tables and downloads work.");
    }
  }

  function start() {
    create();
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
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    document.addEventListener("shown", all);
    document.addEventListener("ticked", () => { if (byId("show-ticked").checked) draw(); });
    if (rows.length) Report.show(rows[0]);
    else { all(); note("There is no molecule to show."); }
  }

  Report.start();
  start();
})();
