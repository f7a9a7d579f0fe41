"use strict";
// One list at a time: for a user, for a wish, or like an item. Rating something brings it up to
// date, and says what moved.

const at = (id) => document.getElementById(id);
const number = (x, digits = 1) => x.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "\u2212");
const enough = 10;  // ratings from which a taste is told
const state = { model: null, user: "", view: { kind: "recommend" }, places: new Map(), asked: 0 };

function make(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

async function call(path, parameters, body) {
  const query = new URLSearchParams(parameters || {});
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(`${path}?${query}`, {
    method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body),
  });
  const found = await answer.json();
  if (answer.status === 401) at("key").hidden = false;
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function say(text, bad = false) {
  at("said").textContent = text;
  at("said").classList.toggle("bad", bad);
}

// Whatever goes wrong is said on the page.
const told = (work) => async (...given) => {
  try { return await work(...given); } catch (error) { say(error.message, true); }
};

const nameOf = (line) => line.label || String(line.item);

const only = (view) => view.where ? `, only ${view.where}` : "";

const headings = {
  recommend: (view) => `For you${only(view)}`,
  ask: (view) => `${state.known ? "Near" : "Nearest to"} \u201c${view.text}\u201d${only(view)}`
    + (state.known ? ", best for you first" : ""),
  similar: (view) => `Like ${view.name}`,
};

function lines(view) {
  const where = view.where ? { where: view.where } : {};
  if (view.kind === "ask") return call("/ask", { text: view.text, user: state.user, ...where });
  if (view.kind === "similar") return call("/similar", { item: view.item, by: state.model.asks ? "text" : "ratings" });
  return call("/recommend", { user: state.user, ...where });
}

async function show(view, keepPlaces = false) {
  const asked = ++state.asked;
  if (!keepPlaces) say("Looking\u2026");
  const found = await lines(view);
  if (asked !== state.asked) return 0;  // something else was asked meanwhile
  const before = keepPlaces ? state.places : null;
  state.view = view;
  state.places = new Map(found.map((line, place) => [String(line.item), place]));
  at("heading").textContent = headings[view.kind](view);
  at("back").hidden = view.kind === "recommend" && !view.where;
  draw(found, before);
  if (!keepPlaces) say(found.length ? "" : "Nothing found.");
  return before ? found.filter((line) => !before.has(String(line.item))).length : 0;
}

function draw(found, before) {
  const list = at("list");
  const tops = new Map([...list.children].map((row) => [row.dataset.item, row.offsetTop]));
  list.replaceChildren(...found.map((line, place) => row(line, place, before)));
  if (!before || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const made of list.children) {  // from where it was to where it is
    const top = tops.get(made.dataset.item);
    const from = top === undefined ? { opacity: 0 }
      : { transform: `translateY(${top - made.offsetTop}px)` };
    made.animate([from, { opacity: 1, transform: "none" }], { duration: 450, easing: "ease-out" });
  }
}

function row(line, place, before) {
  const about = [];
  if (line.est !== undefined && line.est !== null && !state.model.implicit) {
    about.push(`expected ${number(line.est)} of ${state.model.scale[1]}`);
  }
  if (line.similarity !== undefined) about.push(`similarity ${number(line.similarity, 2)}`);
  if (line.basis === "popular") about.push("popular");
  const below = make("div", {});
  const made = make("li", {},
    make("div", { className: "head" },
      make("span", { className: "rank" }, String(place + 1)),
      make("div", { className: "name" }, nameOf(line), moved(line, place, before),
        make("div", { className: "about soft" }, ...about.map((text) => make("span", {}, text)))),
      make("div", { className: "do" },
        opens("Why?", below, () => why(line)),
        make("button", { type: "button", onclick: told(() => similar(line)) }, "Similar"),
        state.model.implicit
          ? make("button", { type: "button", onclick: told(() => rate(line, null)) }, "Choose")
          : opens("Rate", below, () => chips(line)))),
    below);
  made.dataset.item = line.item;
  return made;
}

function moved(line, place, before) {
  if (!before) return null;
  const was = before.get(String(line.item));
  if (was === undefined) return make("span", { className: "moved up" }, "new");
  if (was === place) return null;
  const up = was > place;
  return make("span", { className: `moved ${up ? "up" : "down"}`,
    title: `was ${was + 1}` }, `${up ? "\u2191" : "\u2193"} ${Math.abs(was - place)}`);
}

// A button that opens something below its line, and closes it again.
function opens(text, below, content) {
  const button = make("button", { type: "button", "aria-expanded": "false" }, text);
  button.addEventListener("click", told(async () => {
    const open = button.getAttribute("aria-expanded") === "true";
    for (const other of button.parentNode.children) {
      if (other.hasAttribute("aria-expanded")) other.setAttribute("aria-expanded", "false");
    }
    if (open) return below.replaceChildren();
    button.setAttribute("aria-expanded", "true");
    const made = await content();
    if (button.getAttribute("aria-expanded") === "true") below.replaceChildren(made);
  }));
  return button;
}

function chips(line) {
  return make("div", { className: "rate", role: "group", "aria-label": `Rate ${nameOf(line)}` },
    ...state.model.ratings.map((value) => make("button", {
      type: "button", onclick: told(() => rate(line, value)),
    }, String(value))));
}

async function why(line) {
  const found = await call("/explain", { user: state.user, item: line.item });
  const made = make("div", { className: "why" }, make("p", {}, found.sentence));
  const terms = Object.entries(found.terms);
  const largest = Math.max(...terms.map(([name, value]) => name === "mean" ? 0 : Math.abs(value)), 1e-9);
  made.append(make("h3", {}, "What it is the sum of"));
  for (const [name, value] of terms) {
    const bar = make("span", { className: value < 0 ? "less" : "" });
    const share = name === "mean" ? 0 : 50 * Math.abs(value) / largest;  // where it starts from
    bar.style.width = `${share}%`;
    bar.style.left = `${value < 0 ? 50 - share : 50}%`;
    made.append(make("div", { className: "term" }, make("span", {}, name),
      make("div", { className: "bar" }, bar), make("span", { className: "number" }, number(value, 2))));
  }
  const loud = found.rated.filter((rated) => Math.abs(rated.influence || 0) >= 0.005);
  if (loud.length) {
    made.append(make("h3", {}, "What counts most of what you have said"));
    for (const rated of loud) made.append(pair(nameOf(rated), number(rated.influence, 2)));
  }
  if (found.nearest.length) {
    made.append(make("h3", {}, "Nearest to it"));
    for (const near of found.nearest) made.append(pair(nameOf(near), number(near.similarity, 2)));
  }
  return made;
}

const pair = (left, right) => make("div", { className: "pair" }, make("span", {}, left),
  make("span", { className: "number" }, right));

const similar = (line) => show({ kind: "similar", item: line.item, name: nameOf(line) });

async function rate(line, value) {
  say("Saving\u2026");
  await call("/feedback", {}, { user: state.user, item: line.item, rating: value });
  await mine();
  const fresh = await show(state.view, true);
  const what = value === null ? "chosen" : `rated ${value}`;
  const change = fresh ? `; ${fresh} new in the list` : "";
  say(`${nameOf(line)}: ${what} and kept${change}.`);
}

async function mine() {
  const found = await call("/ratings", { user: state.user });
  state.known = found.length > 0;
  found.reverse();
  at("mine").replaceChildren(...found.map((rated) => make("li", {},
    pair(nameOf(rated), state.model.implicit ? "" : String(Math.round(100 * rated.rating) / 100)))));
  at("known").textContent = found.length ? `known by ${found.length} rating${found.length > 1 ? "s" : ""}`
    : "not known yet: rate something";
  at("mine-heading").hidden = at("forget").hidden = !found.length;
  await taste(found.length);
}

// What is liked more and less than by others, as far as the model tells it from content.
async function taste(known) {
  const found = known >= enough && state.model.columns.length > 1
    ? await call("/portrait", { user: state.user, n: 3 }) : [];
  const parts = [];
  for (const [heading, sign] of [["More than others", 1], ["Less than others", -1]]) {
    const names = found.filter((line) => line.kind !== "item" && sign * line.liking > 0)
      .map((line) => line.name);
    if (names.length) parts.push(make("h3", {}, heading), make("p", { className: "soft" }, names.join(", ")));
  }
  at("taste").replaceChildren(...parts);
  at("taste-heading").hidden = !parts.length;
}

const become = told(async (user) => {
  state.user = user;
  at("user").value = user;
  localStorage.setItem("user", user);
  await mine();
  await show(state.view);
});

const start = told(async () => {
  state.model = await call("/model");
  const { algorithm, items, users, version } = state.model;
  at("model").textContent = `${algorithm}, ${items.toLocaleString("en")} items, `
    + `${users.toLocaleString("en")} people; llmtokens ${version}.`;
  at("text").hidden = !state.model.asks;
  const columns = state.model.columns.filter((name) => name !== "item");
  at("wish").hidden = !state.model.asks && !columns.length;
  at("only").hidden = !columns.length;
  at("columns").textContent = `By ${columns.join(", ")}`
    + (state.model.condition ? `: such as ${state.model.condition}` : "");
  at("key").hidden = true;
  const fresh = `visitor-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  const asked = new URLSearchParams(location.search);
  const wish = asked.get("wish");
  if (wish && state.model.asks) {
    at("text").value = wish;
    state.view = { kind: "ask", text: wish };
  }
  await become(asked.get("user") || localStorage.getItem("user") || fresh);
});

at("wish").addEventListener("submit", told(async (event) => {
  event.preventDefault();
  const text = at("text").value.trim(), where = at("where").value.trim();
  await show(text ? { kind: "ask", text, where } : { kind: "recommend", where });
}));
at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = at("user").value.trim();
  if (user) become(user);
});
at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token").value);
  start();
});
at("back").addEventListener("click", told(() => {
  at("text").value = at("where").value = "";
  return show({ kind: "recommend" });
}));
at("forget").addEventListener("click", told(async () => {
  if (!confirm("Forget all that you have said here? This cannot be undone.")) return;
  say("Forgetting\u2026");
  const { ratings } = await call("/forget", {}, { user: state.user });
  await become(state.user);
  say(`Forgotten, with ${ratings} ratings.`);
}));
start();
