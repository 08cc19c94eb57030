// Shows /openapi.json as a list of calls. Text is only ever set as text, never as markup.
"use strict";

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function resolve(spec, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return spec.components.schemas[schema.$ref.split("/").pop()] || {};
}

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return typeOf(schema.items || {}) + "[]";
  return schema.type || "any";
}

function limitsOf(schema) {
  if (schema.anyOf) return schema.anyOf.map(limitsOf).filter(Boolean).join(" | ");
  const names = ["minimum", "maximum", "minLength", "maxLength", "pattern", "default"];
  return names.filter((name) => schema[name] !== undefined && schema[name] !== null)
    .map((name) => name + " " + JSON.stringify(schema[name])).join(", ");
}

function fieldTable(rows) {
  const head = element("tr", {}, ...["field", "type", "limits", "meaning"].map((title) => element("th", {}, title)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

function fieldRow(name, schema, required, description) {
  return element("tr", {},
    element("td", {}, element("code", {}, name), required ? " *" : ""),
    element("td", {}, element("code", {}, typeOf(schema))),
    element("td", {}, limitsOf(schema)),
    element("td", {}, description || schema.description || ""));
}

function nested(spec, schema) {
  const options = schema.anyOf || [schema.type === "array" ? schema.items : schema];
  return options.find((option) => option && option.$ref);
}

function schemaRows(spec, reference, prefix, depth) {
  const schema = resolve(spec, reference);
  const rows = [];
  for (const [name, property] of Object.entries(schema.properties || {})) {
    rows.push(fieldRow(prefix + name, property, (schema.required || []).includes(name)));
    const inner = nested(spec, property);
    if (inner && depth < 3) rows.push(...schemaRows(spec, inner, prefix + name + ".", depth + 1));
  }
  return rows;
}

function schemaSection(spec, title, content) {
  const schema = content && content["application/json"] && content["application/json"].schema;
  if (!schema) return null;
  const rows = schemaRows(spec, schema, "", 0);
  const description = resolve(spec, schema).description || "";
  return element("section", {}, element("h3", {}, title), element("p", {}, description), rows.length ? fieldTable(rows) : "");
}

function responseRow([status, response]) {
  return element("tr", {}, element("td", {}, element("code", {}, status)), element("td", {}, response.description));
}

function operationView(spec, path, method, operation) {
  const summary = element("summary", {},
    element("code", { class: "method" }, method.toUpperCase()), element("code", {}, path),
    element("span", { class: "name" }, operation.operationId || ""));
  const parameters = (operation.parameters || [])
    .map((each) => fieldRow(each.name + " (" + each.in + ")", each.schema, each.required, each.description));
  const success = Object.keys(operation.responses)[0];
  return element("details", { id: operation.operationId || path }, summary,
    element("p", {}, operation.summary || ""),
    parameters.length ? fieldTable(parameters) : "",
    operation.requestBody ? schemaSection(spec, "Request body", operation.requestBody.content) : null,
    schemaSection(spec, "Answer " + success, operation.responses[success].content),
    element("h3", {}, "Status codes"),
    element("table", {}, element("tbody", {}, ...Object.entries(operation.responses).map(responseRow))));
}

async function show() {
  const place = document.getElementById("operations");
  try {
    const answer = await fetch("/openapi.json");
    const spec = await answer.json();
    document.getElementById("about").prepend("Version " + spec.info.version + ". ");
    const views = Object.entries(spec.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => operationView(spec, path, method, operation)));
    place.replaceChildren(...views);
  } catch (error) {
    place.replaceChildren(element("p", {}, "The document cannot be shown: " + error));
  }
}

show();
