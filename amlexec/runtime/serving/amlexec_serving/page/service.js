"use strict";
// Everything from the service is shown as text. The key stays in this tab: it is never part of an address.
const at = (id) => document.getElementById(id);
let key = sessionStorage.getItem("key") || "";

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  return fetch(path, { ...options, headers, cache: "no-store" });
}

function resolved(schema, all, depth = 0) {
  if (schema === null || typeof schema !== "object" || depth > 8) return schema;
  if (Array.isArray(schema)) return schema.map((one) => resolved(one, all, depth + 1));
  if (typeof schema.$ref === "string") return resolved(all[schema.$ref.split("/").pop()] || {}, all, depth + 1);
  return Object.fromEntries(Object.entries(schema).map(([name, one]) => [name, resolved(one, all, depth + 1)]));
}

function sample(schema) {
  if (!schema || typeof schema !== "object") return null;
  for (const name of ["example", "default", "const"]) if (name in schema) return schema[name];
  if (Array.isArray(schema.examples) && schema.examples.length) return schema.examples[0];
  if (Array.isArray(schema.enum)) return schema.enum[0];
  if (Array.isArray(schema.anyOf)) return sample(schema.anyOf[0]);
  if (Array.isArray(schema.prefixItems)) return schema.prefixItems.map(sample);
  switch (schema.type) {
    case "object":
      return Object.fromEntries(Object.entries(schema.properties || {}).map(([name, one]) => [name, sample(one)]));
    case "array": return schema.items && Object.keys(schema.items).length ? [sample(schema.items)] : [];
    case "string": return "";
    case "integer": case "number": return 0;
    case "boolean": return false;
    default: return null;
  }
}

function shown(value) { return JSON.stringify(value, null, 2); }

function tile(list, name, value, kind) {
  const box = document.createElement("div");
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = name;
  text.textContent = value;
  if (kind) text.className = kind;
  box.append(term, text);
  list.append(box);
}

async function refresh() {
  const list = at("status");
  if (!list) return;
  let state;
  try {
    const answer = await ask("status");
    if (!answer.ok) return;
    state = await answer.json();
  } catch {
    list.replaceChildren();
    tile(list, "state", "unreachable", "bad");
    return;
  }
  list.replaceChildren();
  tile(list, "state", state.ready ? "ready" : "not ready", state.ready ? "good" : "bad");
  tile(list, "up for", `${Math.round(state.uptime_s)} s`);
  const counts = Object.entries(state.answers);
  tile(list, "answers", counts.map(([status, count]) => `${count} × ${status}`).join(", ") || "none");
  tile(list, "waiting", String(state.waiting));
  for (const [name, value] of Object.entries(state.latency_ms)) tile(list, name, `${value} ms`);
}

function form(operation) {
  const content = operation.requestBody ? operation.requestBody.content : {};
  return Object.entries(content)[0] || ["application/json", {}];
}

function operations(document_) {
  const all = document_.components.schemas;
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const head = document.createElement("h2");
      head.textContent = `${method.toUpperCase()} ${path}`;
      const text = document.createElement("p");
      text.textContent = operation.summary || "";
      at("operations").append(head, text);
      if (operation.requestBody) {
        const [kind, what] = form(operation);
        const body = document.createElement("pre");
        body.textContent = `${kind}\n${shown(resolved(what.schema || {}, all))}`;
        at("operations").append(body);
      }
      const list = document.createElement("dl");
      for (const [status, answer] of Object.entries(operation.responses)) tile(list, status, answer.description);
      at("operations").append(list);
    }
  }
}

async function open_() {
  const answer = await ask("openapi.json");
  at("login").hidden = answer.status !== 401;
  if (answer.status === 401) {
    at("refused").textContent = key ? "The key is wrong." : "";
    return;
  }
  if (!answer.ok) {
    setTimeout(open_, 1000);  // the script is being loaded
    return;
  }
  if (key) sessionStorage.setItem("key", key);
  const document_ = await answer.json();
  at("name").textContent = document.title = document_.info.title;
  at("models").textContent = document_.info.version === "0" ? "" : document_.info.version;
  if (at("operations")) {
    at("operations").replaceChildren();
    operations(document_);
    at("download").href = URL.createObjectURL(new Blob([shown(document_)], { type: "application/json" }));
    return;
  }
  const [kind, what] = form(document_.paths["/score"].post);
  const schema = resolved(what.schema || {}, document_.components.schemas);
  at("schema").textContent = Object.keys(schema).length ? shown(schema) : `${kind}: the script declares no types`;
  const example = "example" in what ? what.example : sample(schema);
  at("body").value = typeof example === "string" ? example : shown(example);
  at("send").dataset.kind = kind;
  await refresh();
  setInterval(refresh, 2000);
}

async function send() {
  const began = performance.now();
  const button = at("send");
  button.disabled = true;
  try {
    const kind = button.dataset.kind === "*/*" ? "application/json" : button.dataset.kind || "application/json";
    const answer = await ask("score", { method: "POST", body: at("body").value, headers: { "Content-Type": kind } });
    const text = await answer.text();
    const model = answer.headers.get("x-amlexec-model");
    const taken = (performance.now() - began).toFixed(1);
    at("outcome").textContent = `${answer.status} in ${taken} ms${model ? ` by ${model}` : ""}`;
    at("outcome").className = answer.ok ? "good" : "bad";
    let value = text;
    try { value = shown(JSON.parse(text)); } catch { /* it is shown as it is */ }
    at("answer").textContent = value;
  } catch (error) {
    at("outcome").textContent = `no answer: ${error.message}`;
    at("outcome").className = "bad";
  } finally {
    button.disabled = false;
  }
  await refresh();
}

at("enter").addEventListener("click", () => { key = at("key").value.trim(); open_(); });
at("key").addEventListener("keydown", (event) => { if (event.key === "Enter") at("enter").click(); });
if (at("send")) at("send").addEventListener("click", send);
open_();
