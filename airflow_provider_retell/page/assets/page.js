// Shared by both pages: elements, requests, Airflow's look, the dialog. Text is only ever set as text, never as HTML.

export const SPOKE = ["answered", "transferred", "callback_requested", "do_not_call"];
const SOFT = ["voicemail", "ivr"];
const BAD = ["bad_number", "blocked", "billing", "technical", "unknown", "stopped", "capacity"];

/** Return the class that colours an outcome. */
export function tone(outcome) {
  if (outcome === "live") return "is-live-call";
  if (SPOKE.includes(outcome)) return "is-spoke";
  if (SOFT.includes(outcome)) return "is-soft";
  return BAD.includes(outcome) ? "is-bad" : "is-missed";
}

/** Return an element with attributes, handlers (`onclick`) and children. */
export function h(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

const shown = new Map();

/** Replace the contents of an element if its data has changed, and keep the focus. */
export function show(id, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  const place = document.getElementById(id);
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...[make(data)].flat().filter(Boolean));
  if (key !== undefined) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

export const words = (outcome) => outcome.replaceAll("_", " ");
export const money = (cents) => `$${(cents / 100).toFixed(2)}`;
export const whole = new Intl.NumberFormat("en-US");

export const calls = (count) => `${whole.format(count)} call${count === 1 ? "" : "s"}`;

export function duration(seconds) {
  const total = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${rest} s` : `${rest} s`;
}

export function moment(seconds) {
  const at = new Date(seconds * 1000);
  const today = at.toDateString() === new Date().toDateString();
  return today ? at.toLocaleTimeString() : at.toLocaleString();
}

/** Ask the page's own API. Airflow 3.1 sets no cookie for it, so the token comes from the browser's storage. */
export async function ask(path, change) {
  const options = { headers: {}, credentials: "same-origin" };
  if (change !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(change);
  }
  let response = await fetch(path, options);
  const token = response.status === 401 ? localStorage.getItem("token") : null;
  if (token) {
    options.headers.Authorization = `Bearer ${token.replaceAll('"', "")}`;
    response = await fetch(path, options);
  }
  const answer = await response.json().catch(() => null); // a proxy may answer in Airflow's place, with HTML
  if (!response.ok || answer === null) {
    const said = typeof answer?.detail === "string" ? answer.detail : `Airflow answered ${response.status}.`;
    const error = new Error(response.ok ? "The answer is not from Airflow's API. This page tries again." : said);
    error.status = response.status;
    throw error;
  }
  return answer;
}

/** Return what to do about a request that failed. */
export function explain(error) {
  if (error.status === 401) return "You are logged out. Log in to Airflow again, and reload this page.";
  if (error.status === 403) return error.message;
  if (error.status === undefined) return "Airflow cannot be reached. This page tries again.";
  return error.message;
}

/** Return the colour behind an element: that of the nearest enclosing element that has one. */
function behind(element) {
  for (let each = element; each; each = each.parentElement) {
    const colour = getComputedStyle(each).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)" && colour !== "transparent") return colour;
  }
  return "";
}

/** Follow the theme of Airflow, whose page shows this one in a frame. */
export function followTheme() {
  let outer = null;
  try {
    outer = window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    outer = null;
  }
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const classes = outer ? [...outer.classList, outer.dataset.theme] : [];
    const dark = classes.includes("dark") || (!classes.includes("light") && system.matches);
    document.documentElement.classList.toggle("dark", dark);
    const around = outer ? behind(window.frameElement) : "";
    if (around) document.documentElement.style.setProperty("--page", around);
  };
  apply();
  system.addEventListener("change", apply);
  if (outer) new MutationObserver(apply).observe(outer, { attributes: true, attributeFilter: ["class", "data-theme"] });
}

/** Open another site in a new tab. Airflow's frame must not do that, so the page around it does. */
export function outside(url) {
  let page = document;
  try {
    page = window.parent.document;
  } catch {
    page = document;
  }
  const link = page.createElement("a");
  Object.assign(link, { href: url, target: "_blank", rel: "noopener noreferrer" });
  link.click();
}

/** Ask the user before something is done; Airflow's frame allows no `confirm()`. */
export function confirmed(question, act, label) {
  return new Promise((resolve) => {
    const done = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const dialog = h(
      "dialog",
      { "aria-label": act, oncancel: (event) => (event.preventDefault(), done(false)) },
      h("p", {}, question),
      h(
        "div",
        { class: "pager" },
        h("button", { onclick: () => done(false), autofocus: true }, "Cancel"),
        h("button", { class: "solid", onclick: () => done(true) }, label ?? act),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Ask repeatedly, as often as the server says, while the page is visible. */
export function keepAsking(look) {
  let timer;
  let running = false;
  const tick = async () => {
    clearTimeout(timer);
    if (running || document.hidden) return;
    running = true;
    const seconds = await look();
    running = false;
    timer = setTimeout(tick, Math.max(seconds || 15, 1) * 1000);
  };
  document.addEventListener("visibilitychange", tick);
  tick();
  return tick;
}

export function problem(text, key = "problem") {
  show(key, text ?? "", (message) => message && h("p", { class: "note warning", role: "alert" }, message));
}

/** Return the card of a campaign: its progress, and the button that pauses or continues it. */
export function campaignCard(campaign, { again, named }) {
  const { progress } = campaign;
  const where = `${campaign.task_id}${campaign.map_index >= 0 ? ` [${campaign.map_index}]` : ""}`;
  const facts = [];
  if (progress.people !== undefined) {
    facts.push(`${whole.format(progress.people - progress.done)} left`, `${whole.format(progress.reached)} reached`);
    facts.push(`${progress.lines_busy} of ${progress.lines_allowed} lines`);
    if (progress.redials_due) facts.push(`${whole.format(progress.redials_due)} to be called again`);
    if (progress.seconds_left) facts.push(`${duration(progress.seconds_left)} until the end`);
  }
  const press = async () => {
    const paused = campaign.pause === null;
    const question = paused
      ? `Pause the campaign ${where}? It stops placing calls within five seconds. Live calls go on.`
      : `Continue the campaign ${where}? It places calls again within five seconds.`;
    const act = paused ? "Pause" : "Continue";
    if (!(await confirmed(question, `${act} the campaign`))) return;
    const { dag_id, run_id, task_id, map_index } = campaign;
    await ask("api/pause", { dag_id, run_id, task_id, map_index, paused }).then(
      () => problem(""),
      (error) => problem(explain(error)),
    );
    await again();
  };
  return h(
    "article",
    { class: "card campaign" },
    h(
      "header",
      {},
      h("h2", {}, named ? `${campaign.dag_id} · ${where}` : `Campaign: ${where}`),
      campaign.may_act &&
        h(
          "button",
          { onclick: press, "data-key": `pause ${campaign.dag_id} ${campaign.run_id} ${where}` },
          campaign.pause === null ? "Pause" : "Continue",
        ),
    ),
    progress.people !== undefined &&
      h("meter", { min: 0, max: Math.max(progress.people, 1), value: progress.done, "aria-label": "People done" }),
    h(
      "p",
      {},
      progress.people === undefined
        ? "No report yet."
        : `${whole.format(progress.done)} of ${whole.format(progress.people)} people done · ${facts.join(" · ")}`,
    ),
    named && h("p", {}, campaign.run_id),
    campaign.pause &&
      h(
        "p",
        { class: "note warning" },
        ["Paused", campaign.pause.by && `by ${campaign.pause.by}`, campaign.pause.at && `at ${campaign.pause.at}`]
          .filter(Boolean)
          .join(" "),
      ),
  );
}
