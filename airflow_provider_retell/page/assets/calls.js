import {
  ask, calls as count, campaignCard, confirmed, duration, explain, followTheme, h, keepAsking, moment, money, outside, problem, show,
  tone, whole, words,
} from "./page.js";

const LIMIT = 50;
const given = new URLSearchParams(location.search);
const names = {};
for (const name of ["dag_id", "run_id", "task_id", "map_index"]) {
  const value = given.get(name);
  if (value && !/^\{[A-Z_]+\}$/.test(value)) names[name] = value; // Airflow leaves a placeholder that it cannot fill
}
const wanted = { outcome: "", person_of: "", offset: 0 };
let again;

followTheme();
again = keepAsking(look);

async function look() {
  const query = new URLSearchParams({ ...names, ...wanted, limit: LIMIT });
  try {
    const view = await ask(`api/calls?${query}`);
    draw(view);
    return view.ask_again_in;
  } catch (error) {
    problem(explain(error));
    document.querySelector("main").setAttribute("aria-busy", "false");
    const status = document.getElementById("status");
    if (status.textContent === "Loading…") status.textContent = "";
    return error.status === 401 || error.status === 403 ? 60 : 5;
  }
}

function change(fields) {
  Object.assign(wanted, { offset: 0 }, fields);
  again();
}

function draw(view) {
  document.querySelector("main").setAttribute("aria-busy", "false");
  const { totals } = view;
  const status = document.getElementById("status");
  status.textContent = describe(view);
  status.classList.toggle("is-live", totals.lines > 0);
  const doubts = [
    view.problem && `Retell could not be read: ${view.problem}`,
    view.cut && "Only the newest 50,000 calls are shown.",
  ].filter(Boolean);
  problem(doubts.join(" "));
  show("person", view.person, personNote);
  show("campaigns", view.campaigns, (all) => all.filter((each) => each.under_way).map(card));
  const none = totals.calls === 0;
  show("totals", none ? null : totals, (it) => it && tiles(it));
  show("outcomes", none ? null : [view.outcomes, wanted.outcome], (it) => it && outcomes(...it));
  show("over-time", none ? null : [view.over_time, totals.undated], (it) => it && overTime(...it));
  const clock = totals.lines ? Math.floor(Date.now() / 1000) : 0; // live calls grow longer
  show("calls", [view.calls, wanted, view.may_act, none, view.connections, view.complete, clock], (it) => list(...it));
}

function describe(view) {
  if (!view.as_of) return view.connections.length ? "Reading the calls from Retell…" : "";
  const when = `As of ${moment(view.as_of)}`;
  if (!view.complete) return `${when}. Reading more calls from Retell…`;
  return view.totals.lines ? `${when}, live.` : `${when}.`;
}

const card = (campaign) => campaignCard(campaign, { again, named: false });

function personNote(number) {
  if (number === null) return null;
  const back = h("button", { class: "link", onclick: () => change({ person_of: "" }), "data-key": "all" }, "Show all calls");
  return h("p", { class: "note" }, `All attempts at ${number || "this person"}. `, back);
}

function tiles(totals) {
  const tile = (value, label) => h("div", { class: "tile" }, h("b", {}, value), h("span", {}, label));
  return [
    tile(whole.format(totals.calls), totals.calls === 1 ? "call" : "calls"),
    tile(`${whole.format(totals.reached)} of ${whole.format(totals.people)}`, "people reached"),
    tile(whole.format(totals.lines), "lines in use"),
    tile(whole.format(totals.lines_peak), "lines at the peak"),
    tile(duration(totals.talk_seconds), "talk time"),
    tile(money(totals.cost_cents), "cost so far"),
  ];
}

function outcomes(counts, chosen) {
  const entries = Object.entries(counts);
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  const bar = h("div", { class: "bar", role: "img", "aria-label": entries.map(([it, n]) => `${n} ${words(it)}`).join(", ") });
  for (const [outcome, count] of entries) {
    const part = h("i", { class: tone(outcome), title: `${count} ${words(outcome)}` });
    part.style.flex = `${count} 0 0`;
    bar.append(part);
  }
  const choose = (outcome) =>
    h(
      "li",
      {},
      h(
        "button",
        {
          "aria-pressed": chosen === outcome,
          "data-key": `outcome ${outcome}`,
          onclick: () => change({ outcome: chosen === outcome ? "" : outcome }),
        },
        h("span", { class: `swatch ${tone(outcome)}` }),
        `${words(outcome)} ${whole.format(counts[outcome] ?? 0)}`,
      ),
    );
  const all = chosen && !(chosen in counts) ? [...Object.keys(counts), chosen] : Object.keys(counts);
  return [
    h("h2", {}, `Outcomes of ${count(total)}`),
    bar,
    h("ul", { class: "legend", "aria-label": "Filter by outcome" }, all.map(choose)),
  ];
}

function overTime({ begin, width, bars }, undated) {
  if (!bars.length) return [h("h2", {}, "Calls over time"), h("p", { class: "muted" }, "No call was connected so far.")];
  const most = Math.max(...bars.map(([spoke, other]) => spoke + other), 1);
  const step = 600 / Math.max(bars.length, 12);
  const chart = h("svg", { class: "chart", viewBox: "0 0 600 72", preserveAspectRatio: "none", role: "img" });
  chart.setAttribute("aria-label", `Calls in each ${duration(width)}, at most ${most}`);
  bars.forEach(([spoke, other], index) => {
    const [low, high] = [(spoke / most) * 70, (other / most) * 70];
    const at = { x: index * step, width: Math.max(step - 1, 1) };
    const title = `${moment(begin + index * width)}: ${spoke} with a conversation, ${other} without`;
    chart.append(h("rect", { ...at, y: 72 - low, height: low, class: "is-spoke" }, h("title", {}, title)));
    chart.append(h("rect", { ...at, y: 72 - low - high, height: high, class: "is-missed" }, h("title", {}, title)));
  });
  const note = undated ? ` ${count(undated)} without a time: not connected.` : "";
  return [
    h("h2", {}, "Calls over time"),
    chart,
    h("div", { class: "axis" }, h("span", {}, moment(begin)), h("span", {}, moment(begin + bars.length * width))),
    h("p", { class: "muted" }, `A bar is ${duration(width)}, ${count(most)} at most.${note}`),
  ];
}

function list(calls, { outcome }, mayAct, none, connections, complete) {
  if (none) {
    if (!complete) return null;
    const why = connections.length
      ? "Calls appear here once Retell lists them: as a rule when the phone is answered, or the call is over."
      : "None of its tasks has a connection to Retell.";
    return h("div", { class: "empty" }, h("strong", {}, "No calls of this run"), why);
  }
  const heads = ["Number", "Outcome", "Task", "Attempt", "Began", "Duration", "Cost", "Agent", ""];
  const numeric = new Set(["Attempt", "Duration", "Cost"]);
  const head = h("tr", {}, heads.map((name) => h("th", { scope: "col", class: numeric.has(name) && "number" }, name)));
  const { matching, offset, limit, rows } = calls;
  const turn = (to, label) =>
    h("button", { onclick: () => change({ offset: to }), disabled: to < 0 || to >= matching, "data-key": label }, label);
  return [
    h("h2", {}, outcome ? `${count(matching)}: ${words(outcome)}` : count(matching)),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows.map((row) => line(row, mayAct))))),
    h(
      "div",
      { class: "pager" },
      `${matching ? offset + 1 : 0} to ${offset + rows.length} of ${whole.format(matching)}`,
      turn(offset - limit, "Previous"),
      turn(offset + limit, "Next"),
    ),
  ];
}

function line(call, mayAct) {
  const live = call.outcome === "live";
  const seconds = live && call.started_at ? Date.now() / 1000 - call.started_at : call.seconds;
  const task = `${call.task_id}${call.map_index >= 0 ? ` [${call.map_index}]` : ""}`;
  const why = [call.status, call.reason].filter(Boolean).join(", ");
  const same = { class: "link", onclick: () => change({ person_of: call.call_id, outcome: "" }) };
  const there = { href: call.url, rel: "noopener noreferrer", "data-key": `open ${call.call_id}` };
  const open = (event) => {
    event.preventDefault();
    outside(call.url);
  };
  return h(
    "tr",
    { "data-call": call.call_id },
    h("td", {}, h("button", { ...same, title: "All attempts at this person", "data-key": `person ${call.call_id}` }, call.number || "unknown")),
    h("td", { title: why }, h("span", { class: `swatch ${tone(call.outcome)}` }), words(call.outcome)),
    h("td", { class: "text", title: task }, task),
    h("td", { class: "number" }, String(call.attempt)),
    h("td", {}, call.started_at ? moment(call.started_at) : ""),
    h("td", { class: "number" }, seconds ? duration(seconds) : ""),
    h("td", { class: "number" }, call.cost_cents ? money(call.cost_cents) : ""),
    h("td", { class: "text", title: call.agent }, call.agent),
    h(
      "td",
      { class: "acts" },
      live && mayAct && h("button", { class: "danger", onclick: () => hangUp(call), "data-key": `hang up ${call.call_id}` }, "Hang up"),
      h("a", { ...there, onclick: open, title: call.call_id }, "Open in Retell"),
    ),
  );
}

async function hangUp(call) {
  const question = `Hang up on ${call.number || "this call"} now? The person at the other end is cut off.`;
  if (!(await confirmed(question, "Hang up"))) return;
  try {
    const { message, stopped } = await ask("api/hang-up", { ...names, call_id: call.call_id });
    problem(stopped ? "" : message);
  } catch (error) {
    problem(explain(error));
  }
  again();
}
