// Molecules of the project: rows by pages, structures and contacts as they are asked for.
"use strict";

import { api } from "./api.js";
import { state } from "./store.js";

const PAGE = 100;
export const ALL = 20000;

const base = () => `/api/projects/${state.id}/molecules`;
export const pictureOf = (id) => `${base()}/${encodeURIComponent(id)}/depiction.svg`;

export function query(filters, sort, page, size) {
  const { job, ...rest } = filters;
  const words = new URLSearchParams({ page, size });
  if (job) words.set("job", job);
  if (sort.id) {
    words.set("sort", sort.id);
    if (!sort.up) words.set("descending", "1");
  }
  if (Object.keys(rest).length) words.set("filter", JSON.stringify(rest));
  return `${base()}?${words}`;
}

// Rows of one filter and order, as the source of a MoleculeTable.
export class PagedRows {
  // before: the rows that were shown until now; those that are as they were stay the same objects.
  constructor(filters, sort, arrived, before) {
    Object.assign(this, { filters, sort, arrived, length: 0, total: 0, pages: new Map(), asked: new Map() });
    this.columns = before ? before.columns : [];
    this.known = new Map(before ? before.known : []);
  }

  row(place) {
    const page = this.pages.get(Math.floor(place / PAGE));
    return (page && page[place % PAGE]) || null;
  }

  wanted(first, last) {
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page += 1) this.load(page).catch(() => null);
  }

  load(page) {
    if (!this.asked.has(page)) this.asked.set(page, this.#load(page));
    return this.asked.get(page);
  }

  async #load(page) {
    try {
      const found = await api.get(query(this.filters, this.sort, page, PAGE));
      Object.assign(this, { length: found.matching, total: found.total, columns: found.columns });
      this.pages.set(page, found.rows.map((row) => this.#kept(row)));
      this.arrived(this);
    } catch (error) {
      this.asked.delete(page);
      throw error;
    }
  }

  #kept(row) {
    const text = JSON.stringify(row);
    const known = this.known.get(row.id);
    if (known && known.text === text) return known.row;
    this.known.set(row.id, { text, row: asRow(row) });
    return this.known.get(row.id).row;
  }

  // The row of an id, of those that are loaded.
  find(id) {
    for (const page of this.pages.values()) {
      const found = page.find((row) => row.id === id);
      if (found) return found;
    }
    return null;
  }

  replace(row) {
    for (const page of this.pages.values()) {
      const place = page.findIndex((other) => other.id === row.id);
      if (place >= 0) page[place] = this.#kept(row);
    }
  }
}

const asRow = (row) => ({ ...row, key: row.id });

export async function allRows(filters) {
  const found = await api.get(query(filters, { id: "" }, 0, ALL));
  return { ...found, rows: found.rows.map(asRow) };
}

const kept = new Map();

// The answer to a request that stays the same, asked for once.
function once(path, ask) {
  if (!kept.has(path)) {
    const answer = ask(path);
    answer.catch(() => kept.delete(path));
    kept.set(path, answer);
  }
  return kept.get(path);
}

export const structureOf = (id) => once(`${base()}/${encodeURIComponent(id)}/molecule.sdf`, api.text);
export const contactsOf = (id) => once(`${base()}/${encodeURIComponent(id)}/interactions`, api.get);
export const proteinText = (version) => once(`/api/projects/${state.id}/structures/protein?format=pdb&v=${encodeURIComponent(version)}`, api.text);
export const forget = () => kept.clear();

export const patch = (id, changes) => api.patch(`${base()}/${encodeURIComponent(id)}`, changes);

export const nameOf = (id) => (id === "reference" ? "reference ligand" : `molecule ${id}`);
