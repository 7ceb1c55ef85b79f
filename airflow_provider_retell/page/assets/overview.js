import { ask, campaignCard, duration, explain, followTheme, h, keepAsking, moment, money, problem, show, tone, whole, words } from "./page.js";

followTheme();
const again = keepAsking(look);

async function look() {
  const main = document.querySelector("main");
  const status = document.getElementById("status");
  try {
    const view = await ask("api/overview");
    status.textContent = `As of ${moment(Date.now() / 1000)}.`;
    problem("");
    show("accounts", view.accounts, accounts);
    show("campaigns", view.campaigns, campaigns);
    return view.ask_again_in;
  } catch (error) {
    problem(explain(error));
    if (status.textContent === "Loading…") status.textContent = "";
    return error.status === 401 || error.status === 403 ? 60 : 5;
  } finally {
    main.setAttribute("aria-busy", "false");
  }
}

function accounts(all) {
  if (!all.length) {
    const why = "There is no connection of the type retell that you may read.";
    return [h("h2", {}, "Accounts"), h("div", { class: "empty" }, h("strong", {}, "No accounts"), why)];
  }
  return [h("h2", {}, "Accounts"), h("div", { class: "cards" }, all.map(account))];
}

function account(it) {
  const lines = it.lines_in_use ?? null;
  const known = lines !== null && it.lines_limit;
  const today = Object.entries(it.today ?? {});
  return h(
    "article",
    { class: "card account" },
    h("header", {}, h("h2", {}, it.team ? `${it.conn_id} (${it.team})` : it.conn_id), known && h("span", {}, `${lines} of ${it.lines_limit} lines in use`)),
    known && h("meter", { min: 0, max: it.lines_limit, value: lines, "aria-label": "Lines in use" }),
    it.paused && h("p", { class: "note warning" }, "The connection is paused: no call is placed by anything that uses it."),
    it.problem && h("p", { class: "note warning" }, it.problem),
    it.today && h("p", {}, today.length ? "Connected calls that ended today (UTC):" : "No connected call has ended today (UTC)."),
    today.length > 0 &&
      h(
        "ul",
        { class: "legend" },
        today.map(([outcome, n]) => h("li", {}, h("span", { class: `swatch ${tone(outcome)}` }), `${words(outcome)} ${whole.format(n)}`)),
      ),
    today.length > 0 && h("p", {}, `${duration(it.today_totals.talk_seconds)} of talk, ${money(it.today_totals.cost_cents)}`),
  );
}

function campaigns(all) {
  const title = h("h2", {}, "Campaigns under way");
  if (!all.length) return [title, h("p", { class: "muted" }, "None that you may see.")];
  return [title, h("div", { class: "cards" }, all.map((each) => campaignCard(each, { again, named: true })))];
}
