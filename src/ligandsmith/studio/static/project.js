// The page of a project.
"use strict";

import { api } from "./api.js";
import { startCurrent } from "./current.js";
import { banner, failed } from "./feedback.js";
import { startFamily } from "./family.js";
import { startFilters } from "./filters.js";
import { startJobs } from "./jobs.js";
import { startKeys } from "./keys.js";
import { startPlot } from "./plot.js";
import { closePopover } from "./popover.js";
import { source, startResults } from "./results.js";
import { setMode, startScene, STEPS, viewer } from "./scene.js";
import { byId, element } from "./shared/dom.js";
import { preview, startSite } from "./site.js";
import { emit, on, recall, state } from "./store.js";
import { startTask } from "./task.js";
import { TASKS } from "./tasks.js";

function drawMode() {
  const { mode } = state;
  const texts = { ...STEPS, atoms: (TASKS[state.task].atoms || { click: "" }).click };
  byId("mode").hidden = !mode;
  const end = element("button", { type: "button", class: "ghost small" }, "Done (Esc)");
  end.addEventListener("click", () => setMode(""));
  byId("mode").replaceChildren(texts[mode] || "", end);
  document.body.classList.toggle("picking", Boolean(mode));
}

function drawSteps() {
  const { protein, site, jobs } = state.project;
  const done = { site: Boolean(protein && site), task: jobs.length > 0, run: jobs.some((job) => job.molecules > 0), results: source.total > 0 };
  const now = Object.keys(done).find((step) => !done[step]) || "results";
  for (const item of byId("steps").children) {
    item.className = done[item.dataset.step] ? "done" : "";
    if (item.dataset.step === now) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
  }
}

function startTabs() {
  const draw = () => {
    for (const tab of document.querySelectorAll(".tabs button")) tab.setAttribute("aria-current", String(tab.dataset.tab === document.body.dataset.tab));
    if (viewer.gl) viewer.gl.resize();
  };
  for (const tab of document.querySelectorAll(".tabs button")) tab.addEventListener("click", () => { document.body.dataset.tab = tab.dataset.tab; });
  new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["data-tab"] });
  new ResizeObserver(() => { if (viewer.gl) viewer.gl.resize(); }).observe(byId("stage"));
  draw();
}

async function start() {
  recall();
  startTabs();
  startScene();
  startSite();
  startTask();
  startCurrent();
  startPlot();
  startFamily();
  startKeys();
  on("mode task", drawMode);
  on("project jobs rows-new", drawSteps);
  on("current mode", closePopover);
  try {
    state.project = await api.get(`/api/projects/${state.id}`);
  } catch (error) {
    banner(error.message);
    return;
  }
  startJobs();
  const rows = startResults();
  startFilters();
  emit("project");
  await Promise.all([rows, preview()]);
  if (state.current) emit("current");
  document.body.dataset.ready = "1";
}

start().catch(failed);
