// Ticked molecules side by side: pictures, numbers with the best one marked, and residues that they touch.
"use strict";

import { failed, openDialog, toast } from "./feedback.js";
import { allRows, contactsOf, pictureOf } from "./molecules.js";
import { better, passes, show, titled } from "./results.js";
import { kindOf } from "./scene.js";
import { byId, element, format } from "./shared/dom.js";

const MOST = 8;  // molecules beside each other

function bestOf(column, rows) {
  const values = rows.map((row) => row.values[column.name]).filter((value) => typeof value === "number");
  if (!column.better || values.length < 2 || Math.min(...values) === Math.max(...values)) return null;
  return column.better === "higher" ? Math.max(...values) : Math.min(...values);
}

function numbers(columns, rows) {
  return columns.filter((column) => rows.some((row) => typeof row.values[column.name] === "number")).map((column) => {
    const best = bestOf(column, rows);
    return element("tr", {}, element("th", { scope: "row" }, `${titled(column)}${better(column)}`), ...rows.map((row) => {
      const value = row.values[column.name];
      const wins = best !== null && value === best;
      return element("td", { class: wins ? "num best" : "num" }, wins ? "▸ " : "", format(value, column.unit, column.decimals));
    }));
  });
}

function touches(found) {
  const residues = new Map();
  found.forEach((contacts, k) => contacts.forEach(({ kind, residue }) => {
    const line = residues.get(residue) || found.map(() => new Set());
    line[k].add(kindOf(kind)[0]);
    residues.set(residue, line);
  }));
  return [...residues].sort(([, a], [, b]) => b.filter((set) => set.size).length - a.filter((set) => set.size).length)
    .map(([residue, line]) => element("tr", {}, element("th", { scope: "row" }, residue), ...line.map((set) => element("td", {}, set.size ? [...set].join(", ") : "–"))));
}

export async function compare(ids) {
  if (ids.length < 2) { toast("Tick at least two molecules to compare them."); return; }
  try {
    const { rows: all, columns } = await allRows({});
    const rows = ids.slice(0, MOST).map((id) => all.find((row) => row.id === id)).filter(Boolean);
    const contacts = await Promise.all(rows.map((row) => contactsOf(row.id).catch(() => [])));
    const heads = rows.map((row) => {
      const open = element("button", { type: "button", class: "view" }, row.id);
      open.addEventListener("click", () => { byId("dialog").close(); show(row.id); });
      return element("th", { scope: "col" }, element("img", { src: pictureOf(row.id), alt: "", width: 160, height: 112 }), element("div", { class: "card-head" }, open, passes(row)), row.note ? element("span", { class: "soft" }, row.note) : null);
    });
    const section = (text) => element("tr", { class: "section" }, element("th", { colSpan: rows.length + 1, scope: "rowgroup" }, text));
    const table = element("table", { class: "compare" }, element("thead", {}, element("tr", {}, element("td"), ...heads)),
      element("tbody", {}, ...numbers(columns.filter((column) => !["pb_valid", "cluster"].includes(column.name)), rows), section("Interactions, by residue"), ...touches(contacts)));
    const note = ids.length > MOST ? `The first ${MOST} of ${ids.length} ticked molecules. ` : "";
    openDialog("Side by side", element("div", {}, element("p", { class: "soft" }, `${note}▸ marks the best value of a row. All of them lie over each other in 3D.`), element("div", { class: "scroll", tabIndex: 0 }, table)), "wide-dialog");
  } catch (error) {
    failed(error);
  }
}
