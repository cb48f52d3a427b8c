// Jobs: how far they are, cancel and continue, and the news that the server sends.
"use strict";

import { api } from "./api.js";
import { banner, failed, openDialog } from "./feedback.js";
import { byId, counted, element } from "./shared/dom.js";
import { emit, on, setFilters, state } from "./store.js";
import { TASKS } from "./tasks.js";

const POLL = 4000;  // ms
const ENDED = ["done", "cancelled", "failed", "interrupted"];
const WORDS = { preparing: "preparing: reads the protein, loads the weights", sampling: "sampling", scoring: "scoring", queued: "waits", done: "done", cancelled: "cancelled", failed: "failed", interrupted: "interrupted" };
let stream = null;
let polling = false;

const active = () => state.project.jobs.filter((job) => !ENDED.includes(job.state));
const running = () => active().find((job) => job.state !== "queued") || active()[0];
export const taskName = (job) => (job.task === "import" ? job.fields.name || "Molecules from a file" : (TASKS[job.task] || { label: job.task }).label);

function time(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function take(job) {
  const place = state.project.jobs.findIndex((other) => other.id === job.id);
  const before = state.project.jobs[place];
  if (place < 0) state.project.jobs.push(job); else state.project.jobs[place] = job;
  emit("jobs");
  if (!before || before.molecules !== job.molecules || before.state !== job.state || (job.state === "scoring" && before.done !== job.done)) emit("made");
}

function listen() {
  const job = running();
  if (stream && job && stream.job === job.id) return;
  if (stream) stream.source.close();
  stream = null;
  if (!job) return;
  const source = new EventSource(`/api/jobs/${job.id}/events`);
  stream = { job: job.id, source };
  source.addEventListener("job", (event) => {
    const news = JSON.parse(event.data);
    take(news);
    if (ENDED.includes(news.state)) { source.close(); stream = null; poll(); }
  });
  source.onerror = () => { source.close(); stream = null; };  // the next poll tries again
}

async function poll() {
  if (polling) return;
  polling = true;
  try {
    const { jobs } = await api.get(`/api/projects/${state.id}`);
    banner("");
    jobs.forEach((job) => {
      const known = state.project.jobs.find((other) => other.id === job.id);
      if (!known || JSON.stringify(known) !== JSON.stringify(job)) take(job);
    });
    listen();
  } catch (error) {
    banner(error.message);
  } finally {
    polling = false;
  }
}

// --- what is shown

async function order(job, what) {
  try {
    take(await api.post(`/api/jobs/${job.id}:${what}`));
    listen();
  } catch (error) {
    failed(error);
  }
}

async function log(job) {
  const text = await api.text(`/api/projects/${state.id}/jobs/${job.id}/log`).catch((error) => error.message);
  openDialog(`What job ${job.id} printed`, element("pre", { class: "log", tabIndex: 0 }, text || "Nothing."), "wide-dialog");
}

function button(text, act, css = "small") {
  const node = element("button", { type: "button", class: css }, text);
  node.addEventListener("click", act);
  return node;
}

function stateText(job) {
  const share = job.total && !ENDED.includes(job.state) ? ` ${job.done} of ${job.total}` : "";
  return `${WORDS[job.state] || job.state}${share}`;
}

function madeText(job) {
  const left = time(job.seconds_left);
  return `${counted(job.molecules)}${left ? ` · ${left} left` : ""}`;
}

function setProgress(bar, job) {
  bar.max = job.total || 1;
  if (job.state === "preparing") bar.removeAttribute("value");
  else bar.value = job.state === "queued" ? 0 : job.done;
}

function made(job) {
  const ended = ENDED.includes(job.state);
  const bar = element("progress", { "aria-label": `Progress of job ${job.id}`, hidden: ended });
  setProgress(bar, job);
  const tools = [element("span", { class: "soft made" }, madeText(job)), element("span", { class: "grow" })];
  if (job.molecules) tools.push(button("Show", () => { setFilters({ job: job.id }, `only job ${job.id}`); byId("jobs-panel").hidden = true; }));
  if (ended && job.state !== "done") tools.push(button("Continue", () => order(job, "continue")));
  if (!ended) tools.push(button("Cancel", () => order(job, "cancel")));
  tools.push(button("Log", () => log(job)));
  return element("article", { class: "job", "data-job": job.id },
    element("div", { class: "job-head" }, element("b", {}, `${job.id}. ${taskName(job)}`), element("span", { class: `state ${job.state}` }, stateText(job))), bar,
    job.message ? element("p", { class: job.state === "failed" ? "problem" : "soft" }, job.message) : null, element("div", { class: "toolbar" }, ...tools));
}

// The line of a job in a list: the one that is there, as long as its buttons stay, so that a click on it is not lost.
export function lineIn(list, job) {
  const look = JSON.stringify([job.state, job.message, job.molecules > 0]);
  const known = list.querySelector(`.job[data-job="${CSS.escape(job.id)}"]`);
  if (!known || known.dataset.look !== look) {
    const node = made(job);
    node.dataset.look = look;
    return node;
  }
  known.querySelector(".state").textContent = stateText(job);
  known.querySelector(".made").textContent = madeText(job);
  setProgress(known.querySelector("progress"), job);
  return known;
}

// Puts nodes into a place, unless they are there.
function put(place, nodes) {
  if (nodes.length !== place.children.length || nodes.some((node, k) => place.children[k] !== node)) place.replaceChildren(...nodes);
}

function draw() {
  const jobs = [...state.project.jobs].sort((a, b) => Number(b.id) - Number(a.id));
  put(byId("jobs-list"), jobs.length ? jobs.map((job) => lineIn(byId("jobs-list"), job)) : [element("p", { class: "teach" }, "No job yet. Choose a site and a task, then make ligands.")]);
  const now = running();
  const bar = byId("jobs-progress");
  bar.hidden = !now;
  if (now && now.total) { bar.max = now.total; bar.value = now.done; }
  const count = active().length;
  byId("jobs-text").textContent = now ? `${count} job${count === 1 ? "" : "s"} · ${WORDS[now.state].split(":")[0]}${now.total ? ` ${now.done}/${now.total}` : ""}${time(now.seconds_left) ? ` · ${time(now.seconds_left)}` : ""}` : `${jobs.length || "No"} job${jobs.length === 1 ? "" : "s"}`;
  document.title = `${now ? `${now.done}/${now.total || "?"} · ` : ""}${state.project.title} · ligandsmith studio`;
}

export function startJobs() {
  byId("jobs-button").addEventListener("click", () => {
    byId("jobs-panel").hidden = !byId("jobs-panel").hidden;
    byId("jobs-button").setAttribute("aria-expanded", String(!byId("jobs-panel").hidden));
  });
  on("project jobs", draw);
  on("started", poll);
  setInterval(() => { if (!document.hidden) poll(); }, POLL);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  listen();
}
