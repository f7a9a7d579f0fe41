"use strict";
// The routes of /openapi.json, as a page.

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function typeOf(schema, all) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return typeOf(all[name], all);
  }
  if (schema.anyOf) {
    const types = schema.anyOf.map((part) => typeOf(part, all)).filter((type) => type !== "null");
    return [...new Set(types)].join(" or ");
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.type === "array" && schema.prefixItems) {
    return `[${schema.prefixItems.map((part) => typeOf(part, all)).join(", ")}]`;
  }
  if (schema.type === "array") return `list of ${typeOf(schema.items, all)}`;
  if (schema.properties) {
    const parts = Object.entries(schema.properties).map(([name, part]) =>
      `${name}${(schema.required || []).includes(name) ? "" : "?"}: ${typeOf(part, all)}`);
    return `{${parts.join(", ")}}`;
  }
  if (schema.type === "object" && schema.additionalProperties) {
    return `{name: ${typeOf(schema.additionalProperties, all)}}`;
  }
  return schema.type || "anything";
}

function limits(schema) {
  const from = schema.minimum, to = schema.maximum;
  const range = from === undefined ? "" : `, from ${from} to ${to}`;
  return range + (schema.default === undefined ? "" : `, by default ${schema.default}`);
}

function route(path, method, said, all) {
  const made = make("section", { className: "route" },
    make("h2", {}, make("code", {}, `${method.toUpperCase()} ${path}`)),
    make("p", {}, said.description || ""));
  const table = make("dl", {});
  made.append(table);
  const add = (left, right) => table.append(make("dt", {}, make("code", {}, left)),
    make("dd", { className: "soft" }, right));
  for (const parameter of said.parameters || []) {
    const needed = parameter.required ? "" : ", may be left out";
    add(parameter.name, typeOf(parameter.schema, all) + limits(parameter.schema)
      + needed + (parameter.description ? `: ${parameter.description}` : ""));
  }
  if (said.requestBody) {
    add("body", typeOf(said.requestBody.content["application/json"].schema, all));
  }
  for (const [status, answer] of Object.entries(said.responses)) {
    const content = answer.content && answer.content["application/json"];
    const type = content ? typeOf(content.schema, all) : "";
    add(status, status === "200" ? type : `${type}: ${answer.description}`);
  }
  return made;
}

fetch("/openapi.json").then((answer) => answer.json()).then((api) => {
  const all = (api.components || {}).schemas || {};
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, said] of Object.entries(methods)) {
      document.getElementById("routes").append(route(path, method, said, all));
    }
  }
});
