// The start page: drop a structure, take an example, go on with a project.
"use strict";

import { api } from "./api.js";
import { failed, toast } from "./feedback.js";
import { byId, counted, element } from "./shared/dom.js";

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function open(project) {
  location.assign(`/projects/${encodeURIComponent(project.id)}`);
}

function problem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

function busy(on) {
  document.body.classList.toggle("busy", on);
}

async function fromFiles(files) {
  if (!files.length) return;
  problem("");
  busy(true);
  let project = null;
  try {
    project = await api.post("/api/projects", { title: files[0].name.replace(/(\.(pdb|ent|cif|mmcif|sdf|mol2?|gz))+$/i, "") || "New project" });
    await api.upload(`/api/projects/${project.id}/structures`, files);
    open(project);
  } catch (error) {
    problem(error.message);
    if (project) await api.remove(`/api/projects/${project.id}`).catch(() => null);  // it has nothing in it
  } finally {
    busy(false);
    byId("files").value = "";
  }
}

async function fromExample(name, title) {
  busy(true);
  try {
    open(await api.post("/api/projects", { title, example: name }));
  } catch (error) {
    failed(error);
  } finally {
    busy(false);
  }
}

function row(project) {
  const link = element("a", { href: `/projects/${encodeURIComponent(project.id)}` }, element("b", {}, project.title),
    element("span", { class: "soft" }, `${counted(project.num_molecules)} · ${when.format(new Date(project.modified))}`));
  const remove = element("button", { type: "button", class: "ghost", "aria-label": `Remove ${project.title}` }, "Remove");
  remove.addEventListener("click", async () => {
    try {
      await api.remove(`/api/projects/${project.id}`);
      toast(`“${project.title}” was moved to the folder .trash of the projects.`);
      await list();
    } catch (error) {
      failed(error);
    }
  });
  return element("li", {}, link, remove);
}

async function list() {
  const projects = await api.get("/api/projects");
  byId("projects").replaceChildren(...(projects.length ? projects.map(row)
    : [element("li", { class: "soft" }, "None yet. An example takes one click.")]));
}

function start() {
  const drop = byId("drop");
  byId("files").addEventListener("change", (event) => fromFiles([...event.target.files]));
  for (const name of ["dragover", "dragenter"]) document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    fromFiles([...event.dataTransfer.files]);
  });
  for (const button of document.querySelectorAll(".example")) {
    button.addEventListener("click", () => fromExample(button.dataset.example, `${button.querySelector("b").textContent}`));
  }
  list().catch(failed);
}

start();
