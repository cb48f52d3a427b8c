// Requests to the studio's own server. Every failure is an ApiError with one line that can be shown.
"use strict";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const GONE = "The studio's server does not answer. If it was stopped, start `ligandsmith studio` again; jobs are kept.";
const SHUT_OUT = "This page is no longer signed in. Open the address that `ligandsmith studio` printed last.";

async function answer(method, path, body, headers) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: { ...(method === "GET" ? {} : { "X-Ligandsmith": "1" }), ...headers } });
  } catch (error) {
    throw new ApiError(GONE, 0);
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  const detail = typeof said.detail === "string" ? said.detail : `The server answered ${response.status}.`;
  throw new ApiError(response.status === 403 && !said.detail ? SHUT_OUT : detail, response.status);
}

const sent = async (method, path, content) => {
  const given = content === undefined ? [undefined, {}] : [JSON.stringify(content), { "Content-Type": "application/json" }];
  return (await answer(method, path, ...given)).json().catch(() => null);
};

async function upload(path, files) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  return (await answer("POST", path, form, {})).json();
}

export const api = {
  get: async (path) => (await answer("GET", path)).json(),
  text: async (path) => (await answer("GET", path)).text(),
  blob: async (path) => (await answer("GET", path)).blob(),
  post: (path, content) => sent("POST", path, content),
  put: (path, content) => sent("PUT", path, content),
  patch: (path, content) => sent("PATCH", path, content),
  remove: (path) => sent("DELETE", path),
  upload,
};
