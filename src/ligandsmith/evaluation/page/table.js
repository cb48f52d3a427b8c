// The table of molecules: filter, sort, tick, download. Texts become text nodes, never markup.
"use strict";
const Report = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 25;
  const SHOWN = ["vina_dock", "vina_min", "vina_score", "qed", "sa", "strain", "clashes", "heavy_atoms", "logp"];
  const MOST_SHOWN = 6;
  const byId = (id) => document.getElementById(id);
  const metrics = data.metrics.map((metric, k) => ({ ...metric, k }));
  const passIndex = metrics.findIndex((metric) => metric.name === data.passName);
  const rows = data.rows.map((row, k) => ({
    k, site: data.sites[row[0]], place: row[0], index: row[1], title: row[2], smiles: row[3], values: row[4],
    failed: row[5], detail: row[6], structure: data.structures[k] || null,
    pass: passIndex < 0 ? null : row[4][passIndex] === 1,
  }));
  for (const row of rows) {
    const failed = (row.failed || []).map((c) => data.checks[c]);
    row.text = [row.title, row.smiles, row.site.name, row.index, ...failed].join("\n").toLowerCase();
  }
  const wanted = SHOWN.filter((name) => metrics.some((metric) => metric.name === name)).slice(0, MOST_SHOWN);
  const state = { shown: new Set(wanted), sort: "rank", up: true, page: 0, listed: rows, current: null, ticked: new Set() };

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name in node && typeof value !== "string") node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function format(value, unit) {
    if (value === null || value === undefined) return "–";
    if (unit === "fraction") return value === 1 ? "yes" : value === 0 ? "no" : `${(100 * value).toFixed(1)} %`;
    if (Number.isInteger(value)) return String(value).replace("-", "−");
    const size = Math.abs(value);
    return value.toFixed(size < 1 ? 3 : size < 10 ? 2 : 1).replace("-", "−");
  }

  const columns = () => [
    { id: "rank", label: "#", value: (row) => row.k },
    { id: "title", label: "Molecule", value: (row) => name(row).toLowerCase() },
    ...(passIndex < 0 ? [] : [{ id: "pass", label: passLabel(), value: (row) => (row.failed ? row.failed.length : row.pass ? 0 : 1) }]),
    ...shownMetrics().map((metric) => (
      { id: metric.name, label: metric.label, metric, value: (row) => row.values[metric.k] })),
  ];
  const place = (metric) => (SHOWN.includes(metric.name) ? SHOWN.indexOf(metric.name) : SHOWN.length + metric.k);
  const shownMetrics = () => metrics.filter((metric) => state.shown.has(metric.name)).sort((a, b) => place(a) - place(b));
  const passLabel = () => (data.passName === "pb_valid" ? "PoseBusters" : "Connected");
  const name = (row) => row.title || `molecule ${row.index}`;

  function compare(a, b) {
    if (a === null || a === undefined) return b === null || b === undefined ? 0 : 2;
    if (b === null || b === undefined) return -2;
    return typeof a === "string" ? Math.sign(a.localeCompare(b)) : Math.sign(a - b);
  }

  function refresh() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const pocket = byId("pocket").value;
    const only = byId("pass").checked;
    state.listed = rows.filter((row) => words.every((word) => row.text.includes(word))
      && (pocket === "" || row.place === Number(pocket)) && (!only || row.pass));
    const column = columns().find((c) => c.id === state.sort) || columns()[0];
    const keyed = state.listed.map((row) => [column.value(row), row]);
    keyed.sort(([a, first], [b, second]) => {
      const order = compare(a, b);  // what has no value stays last in both directions
      return (Math.abs(order) === 2 ? order : state.up ? order : -order) || first.k - second.k;
    });
    state.listed = keyed.map(([, row]) => row);
    state.page = Math.min(state.page, Math.max(0, Math.ceil(state.listed.length / PAGE) - 1));
    draw();
  }

  function drawHead() {
    const cells = columns().map((column) => {
      const button = element("button", { type: "button" }, column.label);
      if (column.metric) button.title = `${column.metric.meaning}${column.metric.unit ? ` (${column.metric.unit})` : ""}`;
      button.addEventListener("click", () => {
        state.up = state.sort === column.id ? !state.up : !(column.metric && column.metric.better === "higher");
        state.sort = column.id;
        state.page = 0;
        refresh();
        byId("head").querySelector(`[data-column="${CSS.escape(column.id)}"] button`).focus();
      });
      const cell = element("th", { scope: "col", "data-column": column.id }, button);
      if (state.sort === column.id) cell.setAttribute("aria-sort", state.up ? "ascending" : "descending");
      return cell;
    });
    const tick = element("th", { scope: "col" }, element("span", {}, "Tick"));
    cells.splice(1, 0, element("th", { scope: "col" }, element("span", {}, "Structure")));
    byId("head").replaceChildren(tick, ...cells);
  }

  function passCell(row) {
    if (data.passName !== "pb_valid") return element("td", { class: row.pass ? "good" : "bad" }, row.pass ? "yes" : "no");
    if (row.pass) return element("td", { class: "good" }, "✓ pass");
    if (row.values[passIndex] === null) return element("td", {}, "– no answer");
    const known = row.failed && row.failed.length;
    const cell = element("td", { class: "bad" }, known ? `✗ ${row.failed.length} failed` : "✗ not passed");
    if (known) cell.title = row.failed.map((c) => data.checks[c]).join("\n");
    return cell;
  }

  function drawRow(row) {
    const tick = element("input", { type: "checkbox", "aria-label": `Tick ${name(row)}, ${row.site.name} ${row.index}`,
      checked: state.ticked.has(row.k), disabled: !row.structure });
    if (!row.structure) tick.title = "Its coordinates are not in this page; see molecules.sdf";
    tick.addEventListener("change", () => { setTick(row, tick.checked); drawTicked(); });
    const picture = element("td");
    if (row.structure && row.structure[0]) {
      picture.append(element("img", { alt: "", loading: "lazy", src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(row.structure[0])}` }));
    }
    const view = element("button", { type: "button", class: "view", "aria-label": `Show ${name(row)} in 3D` }, name(row));
    view.addEventListener("click", () => show(row));
    const title = element("th", { scope: "row" }, view, element("span", { class: "where" }, `${row.site.name} · ${row.index}`));
    const cells = columns().slice(2).map((column) => (column.metric
      ? element("td", { class: "num" }, format(row.values[column.metric.k], column.metric.unit)) : passCell(row)));
    return element("tr", { "data-row": String(row.k), class: state.current === row ? "current" : "" },
      element("td", {}, tick), element("td", { class: "num" }, String(row.k + 1)), picture, title, ...cells);
  }

  function draw() {
    drawHead();
    const first = state.page * PAGE;
    byId("body").replaceChildren(...state.listed.slice(first, first + PAGE).map(drawRow));
    const pages = Math.max(1, Math.ceil(state.listed.length / PAGE));
    byId("page-text").textContent = `${state.listed.length} of ${rows.length} molecules · page ${state.page + 1} of ${pages}`;
    byId("page-back").disabled = state.page === 0;
    byId("page-on").disabled = state.page + 1 >= pages;
    drawTicked();
  }

  function setTick(row, ticked) {
    if (ticked && row.structure) state.ticked.add(row.k);
    else state.ticked.delete(row.k);
  }

  function drawTicked() {
    const count = state.ticked.size;
    byId("download").disabled = count === 0;
    byId("download").textContent = count ? `Download ${count} ticked as SDF` : "Download ticked as SDF";
    for (const line of byId("body").children) line.querySelector("input").checked = state.ticked.has(Number(line.dataset.row));
    document.dispatchEvent(new Event("ticked"));
  }

  function show(row) {
    state.current = row;
    for (const line of byId("body").children) line.classList.toggle("current", Number(line.dataset.row) === row.k);
    document.dispatchEvent(new Event("shown"));
  }

  function step(by) {
    const place = state.listed.indexOf(state.current);
    const next = state.listed[Math.min(Math.max(place + by, 0), state.listed.length - 1)];
    if (!next) return;
    const page = Math.floor(state.listed.indexOf(next) / PAGE);
    if (page !== state.page) { state.page = page; draw(); }
    show(next);
  }

  const oneLine = (text) => String(text).replace(/[\s\u0000-\u001f]+/g, " ").trim();

  function sdf() {
    return rows.filter((row) => state.ticked.has(row.k)).map((row) => {
      const values = metrics.map((metric) => [metric.name, row.values[metric.k]]).filter(([, value]) => value !== null);
      const props = [["pocket", row.site.name], ["index", row.index], ["smiles", row.smiles], ...values]
        .map(([key, value]) => [oneLine(key).replace(/[<>]/g, "_"), oneLine(value)]).filter(([, value]) => value !== "");
      const block = row.structure[1].replace(/\n+$/, "");
      return `${oneLine(row.title).slice(0, 200)}\n${block}\n${props.map(([key, value]) => `>  <${key}>\n${value}\n\n`).join("")}$$$$\n`;
    }).join("");
  }

  function download() {
    const url = URL.createObjectURL(new Blob([sdf()], { type: "chemical/x-mdl-sdfile" }));
    const link = element("a", { href: url, download: `selection_${state.ticked.size}.sdf` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  function moveFocus(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const line = event.target.closest("tr");
    if (!by || !line) return;
    event.preventDefault();
    const lines = [...byId("body").children];
    const next = lines[lines.indexOf(line) + by];
    if (next) next.querySelector(event.target.matches("input:not(:disabled)") ? "input:not(:disabled), .view" : ".view").focus();
  }

  function drawColumns() {
    byId("columns").replaceChildren(...metrics.map((metric) => {
      const box = element("input", { type: "checkbox", checked: state.shown.has(metric.name) });
      box.addEventListener("change", () => {
        if (box.checked) state.shown.add(metric.name); else state.shown.delete(metric.name);
        refresh();
      });
      return element("label", {}, box, metric.label);
    }));
  }

  function start() {
    data.sites.forEach((site, k) => byId("pocket").append(element("option", { value: String(k) }, site.name)));
    byId("pocket").parentElement.hidden = data.sites.length < 2;
    byId("pass").parentElement.hidden = passIndex < 0;
    byId("pass-label").textContent = data.passName === "pb_valid" ? "PoseBusters-valid only" : "Connected only";
    for (const id of ["filter", "pocket", "pass"]) byId(id).addEventListener("input", () => { state.page = 0; refresh(); });
    byId("tick-all").addEventListener("click", () => { state.listed.forEach((row) => setTick(row, true)); drawTicked(); });
    byId("tick-none").addEventListener("click", () => { state.ticked.clear(); drawTicked(); });
    byId("download").addEventListener("click", download);
    byId("page-back").addEventListener("click", () => { state.page -= 1; draw(); });
    byId("page-on").addEventListener("click", () => { state.page += 1; draw(); });
    byId("previous").addEventListener("click", () => step(-1));
    byId("next").addEventListener("click", () => step(1));
    byId("body").addEventListener("keydown", moveFocus);
    drawColumns();
    refresh();
  }

  return { data, rows, metrics, state, element, format, name, show, start, byId };
})();
