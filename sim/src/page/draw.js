// Draws the verdict, the lanes and the records. Places on the time axis are numbers that the style
// sheet multiplies by the zoom.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = ["svg", "g", "use", "rect", "text"];

function el(name, attributes = {}, ...children) {
  const it = SVG.includes(name)
    ? document.createElementNS($("signs").namespaceURI, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) it.setAttribute(key, value);
  it.append(...children.flat(Infinity).filter((child) => child !== null));
  return it;
}

// -- What is read first --------------------------------------------------------------------------

function facts() {
  const struck = RUN.fired.reduce((sum, [, times]) => sum + times, 0);
  $("title").append(document.title);
  $("facts").append(
    `${RUN.records} records, ${RUN.events} events handed to dispatchers, ${struck} faults, `
    + `${lasting(RECORDS.at(-1)?.at_ms ?? 0)} of virtual time, hash ${RUN.hash}. `
    + (CUT_TO ? `The run is long: ${CUT_TO - CUT_FROM} records in its middle are not drawn.` : ""));
  if (RUN.bug) $("bug").append("The bug ", el("b", {}, RUN.bug), " is planted in this run. ");
  $("replay").append(RUN.replay);
  $("faults").append(...RUN.fired.map(([name, times]) =>
    el("button", { class: "chip", "data-find": `fault: ${name}` }, `${name} `, el("b", {}, String(times)))));
}

function verdict() {
  const { broken } = RUN, at = STORY.broken;
  $("verdict").classList.add(broken ? "bad" : "good");
  if (!broken) {
    return $("verdict").append(el("h2", {}, "Every promise was kept"),
      el("p", {}, `All promises were checked after each of ${RUN.events} events, and again at the end. None was broken.`));
  }
  $("verdict").append(
    el("h2", {}, "Broken promise ", el("code", {}, broken.promise)), el("p", {}, broken.meaning),
    el("p", { class: "how" }, el("small", {}, "What was seen: "), broken.how));
  if (at === null) return $("verdict").append(el("p", {}, "No record shows when."));
  $("verdict").append(
    el("p", {}, `It broke at ${clock(broken.at_ms)} s of virtual time, `,
      STORY.calm === null ? "while faults struck. " : "after the faults had stopped. ",
      el("button", { "data-go": at }, "Show the moment")),
    el("div", { class: "two" },
      el("div", {}, el("h3", {}, "Things at that moment"), el("ul", { class: "state" }, state(at))),
      el("div", {}, el("h3", {}, "What happened before"), el("ol", { class: "steps" }, steps(at, broken.at_the_end)))));
}

// Zombies, what is alive, and boards in trouble.
function state(at) {
  const item = (lane, name, kind, text) => el("li", {}, el("button", { class: kind, "data-lane": lane }, name), ` ${text}`);
  const since = (i) => between(i, at);
  const is = (span) => span.from <= at && span.to >= at;
  const items = STORY.processes.filter((it) => it.from <= at && (it.ended === null || (it.zombieTo ?? -1) >= at)).map((it) => {
    const how = it.ended === null ? `alive for ${since(it.from)}` : `zombie for ${since(it.ended)}, ${it.status}`;
    const kind = it.ended === null ? "alive" : "zombie";
    return item(`p${it.n}`, `process ${it.n}`, kind, `pid ${it.pid}, ${whose(it)}, ${how}`);
  });
  for (const it of STORY.boards) {
    const trouble = (text) => items.push(item(`b${it.n}`, `board ${it.n}`, "trouble", text));
    for (const t of it.troubles.filter(is)) trouble(`${t.name}, ${t.seen ? "not seen well since" : "for"} ${since(t.from)}`);
    for (const r of it.requests.filter((r) => r.outcome === "open" && RECORDS[r.from].at_ms < RECORDS[at].at_ms)) {
      trouble(`no answer yet, sexton ${r.of} has waited for ${since(r.from)}`);
    }
    for (const a of it.aside.filter(is)) trouble(`left alone by sexton ${a.of} for ${since(a.from)}`);
  }
  for (const it of STORY.dispatchers.filter((it) => !it.alive)) {
    items.push(item(`d${it.n}`, `sexton ${it.n}`, "dead", `dead for ${since(it.lives.at(-1)?.to ?? at)}`));
  }
  return items.length ? items : [el("li", {}, "No process is left, and no board is in trouble.")];
}

// The last steps before the break that matter. At the end of a run, where nothing happens any more,
// those are long ago.
function steps(at, atTheEnd) {
  const matters = (r) => !["routine", "report"].includes(classOf(r)) && r.who !== "world" && !(atTheEnd && isQuiet(r));
  const before = [...RECORDS.keys()].slice(0, at).filter((i) => matters(RECORDS[i]));
  return [...before.slice(-12), at].map((i) =>
    el("li", { class: classOf(RECORDS[i]) }, el("button", { "data-go": i }, line(RECORDS[i]))));
}

// -- The time axis -------------------------------------------------------------------------------
// Virtual time has hours in which nothing happens and milliseconds in which much does. So a place is
// a matter of order first: each record has room after its kind, and the time since the one before
// adds to it by its logarithm, up to a gap that says how much was left out.

const GAP_MS = 1000, GAP = 34;
const X = [], GAPS = [];
let WIDTH = 12;

function scale() {
  let last = RECORDS[0]?.at_ms ?? 0;
  for (const [i, r] of RECORDS.entries()) {
    if (!hidden(i)) {
      const passed = Math.max(r.at_ms - last, 0);
      last += passed;
      if (passed >= GAP_MS) GAPS.push({ x: WIDTH + GAP / 2, passed });
      WIDTH += passed >= GAP_MS ? GAP : 3 * Math.ceil(Math.log2(passed + 1));
    }
    X.push(WIDTH);
    if (!hidden(i)) WIDTH += roomOf(r);
  }
  WIDTH += 12;
}

// -- The lanes -----------------------------------------------------------------------------------

const at = (x) => `--x:${x}`;
const sign = (name, i, y) => (hidden(i) ? null : el("use", { href: `#${name}`, class: `g-${name}`, style: at(X[i]), y, "data-r": i }));
const mark = (i, y) => sign(signOf(RECORDS[i]), i, y);
const label = (kind, i, y, text) => (hidden(i) ? null : el("text", { class: kind, style: at(X[i]), y, "data-r": i }, text));
const bar = (kind, { from, to }, y, height, text) => (hidden(from) && hidden(to) ? null
  : el("rect", { class: kind, style: `${at(X[from])};--w:${X[to] - X[from]}`, y, height, "data-r": from, "data-t": text }));
const labels = (...texts) => el("g", { class: "labels" }, texts);
const named = (name, note) => el("div", { class: "name" }, el("b", {}, name), el("small", {}, note));
const lane = (kind, id, name, note, height, ...parts) =>
  el("div", { class: `lane ${kind}`, id }, named(name, note), el("svg", { height }, parts));
const section = (name, text) => el("div", { class: "section" }, el("h3", {}, name, el("small", {}, text)));
const rule = (kind, x) => el("div", { class: `rule ${kind}`, style: at(x) });

// Faults and notes of a lane, with as many of their names as there is room for.
function names(marks) {
  const has = marks.filter((i) => ["fault", "note"].includes(classOf(RECORDS[i])));
  return [...has.map((i) => mark(i, 7)),
    labels(has.map((i) => label(classOf(RECORDS[i]), i, 11, RECORDS[i].fault ?? RECORDS[i].text)))];
}

function axis() {
  const times = [];
  let [x, ms] = [-56, -1];
  for (const [i, r] of RECORDS.entries()) {
    if (hidden(i) || X[i] < x + 56 || r.at_ms <= ms) continue;
    times.push(label("time", i, 36, clock(r.at_ms)));
    [x, ms] = [X[i], r.at_ms];
  }
  const flag = (kind, i, text) => (i === null ? null : el("text", { class: `flag ${kind}`, style: at(X[i]), y: 13, "data-r": i }, text));
  const cut = CUT_TO ? RECORDS.findIndex((r) => r.n >= CUT_TO) : null;
  return [
    ...GAPS.map((gap) => rule("gap", gap.x)), cut === null ? null : rule("torn", X[cut]),
    STORY.calm === null ? null : rule("calm", X[STORY.calm]),
    STORY.broken === null ? null : rule("broken", X[STORY.broken]),
    lane("axis", undefined, "virtual time", "in seconds, not to scale", 40,
      labels(flag("calm", STORY.calm, "faults stop here"), flag("broken", STORY.broken, `✗ ${RUN.broken?.promise}`),
        flag("", cut, `${CUT_TO - CUT_FROM} records are not drawn`)),
      STORY.world.map((i) => mark(i, 8)),
      labels(GAPS.map((gap) => el("text", { class: "skip", style: at(gap.x), y: 36 }, `+${lasting(gap.passed)}`)), times)),
  ];
}

function dispatcherLane(it) {
  const note = it.alive ? (it.lives.length > 1 ? `${it.lives.length} lives` : "") : "dead at the end";
  const asks = (i) => ["effect", "report"].includes(RECORDS[i].kind);
  return lane(`dispatcher s${it.n % 6}`, `d${it.n}`, `sexton ${it.n}`, note, 62,
    it.lives.map((life) => bar("life", life, 15, 44, `sexton ${it.n} is alive`)), names(it.marks),
    it.marks.filter((i) => RECORDS[i].kind !== "fault").map((i) => mark(i, asks(i) ? 48 : 26)));
}

const CAME = {
  wrote: "answered, and something was written", looked: "answered, nothing was written",
  failed: "failed, nothing was written", maybe: "failed, and may have been written all the same",
  lost: "its dispatcher died before the answer", open: "not answered when the run ended", cut: "its end is not drawn",
};

function boardLane(it) {
  const wrote = it.requests.filter((request) => request.outcome === "wrote").length;
  const parts = [];
  for (const t of it.troubles) {
    const text = `${t.name}, ${t.seen ? "first seen to be over after" : "for"} ${between(t.from, t.to)}`;
    parts.push(bar("ill", t, 17, 13, text));
  }
  STORY.dispatchers.forEach(({ n }, row) => {
    const y = 32 + 12 * row;
    for (const a of it.aside.filter((a) => a.of === n)) parts.push(bar("aside", a, y, 10, `sexton ${n} leaves the board alone: it has failed`));
    for (const r of it.requests.filter((r) => r.of === n)) {
      const text = `request of sexton ${n}, ${between(r.from, r.to)}: ${CAME[r.outcome]}`;
      parts.push(bar(`req ${r.outcome} s${n % 6}`, r, y + 2, 7, text));
      if (r.outcome === "wrote") parts.push(sign("wrote", r.to, y + 5));
      if (["failed", "maybe"].includes(r.outcome)) parts.push(sign("no", r.to, y + 5));
    }
  });
  // The name of a trouble is repeated as far as its bar reaches.
  const repeated = it.troubles.flatMap((t) => {
    const times = Math.ceil((X[t.to] - X[t.from] || 1) / 480);
    return Array.from({ length: times }, (_, k) => el("text", { class: "in", style: at(X[t.from] + 480 * k), y: 27 }, t.name));
  });
  return lane("board", `b${it.n}`, `board ${it.n}`, `${it.requests.length} requests${CUT_TO ? " drawn" : ""}, ${wrote} wrote`,
    34 + 12 * STORY.dispatchers.length, names(it.marks), parts, labels(repeated));
}

const FATE = {
  zombie: "never reaped", reaped: "reaped", "at once": "taken at once by its parent or pid 1",
  orphaned: "taken by pid 1 when its dispatcher died",
};

function processLane(it) {
  if (hidden(it.from) && hidden(it.to)) return null;
  const zombie = it.zombieTo === null ? "" : `zombie for ${between(it.ended, it.zombieTo)}`;
  const end = it.ended === null ? ["still alive"] : [it.status, zombie, FATE[it.gone]];
  const fate = [...it.faults.map((i) => RECORDS[i].fault), ...end].filter(Boolean).join(", ");
  const colour = it.of === undefined ? "" : ` s${it.of % 6}`;
  const row = lane(`process${colour}${it.gone === "zombie" ? " left" : ""}`, `p${it.n}`, `process ${it.n}`, `pid ${it.pid} · ${whose(it)}`, 18,
    bar("alive", { from: it.from, to: it.ended ?? END }, 3, 12, `alive for ${between(it.from, it.ended ?? END)}`),
    zombie ? bar("zombie", { from: it.ended, to: it.zombieTo }, 3, 12, zombie) : null,
    it.faults.map((i) => sign("fault", i, 9)),
    it.gone === "reaped" ? sign("yes", it.goneAt, 9) : null,
    it.gone === "orphaned" ? sign("dead", it.goneAt, 9) : null,
    it.gone === "at once" ? sign("end", it.ended, 9) : null,
    label("fate", it.to, 13, fate));
  Object.assign(row.dataset, { from: it.from, to: it.to });
  return row;
}

function lanes() {
  $("inner").style.setProperty("--z", 1);
  $("inner").style.setProperty("--width", WIDTH);
  $("inner").append(...[
    axis(), el("div", { class: "rule cursor", id: "cursor", hidden: "" }),
    section("Dispatchers", "each lane is one running dispatcher: above what it is told, below what it asks for"),
    STORY.dispatchers.map(dispatcherLane),
    section("Boards", "each lane is one task list in a file: what is wrong with it, and below it the requests of each dispatcher, from being sent to being answered"),
    STORY.boards.map(boardLane),
    section("Processes", "each lane is one worker, or what a worker started: alive, then dead but not reaped (a zombie), then gone"),
    STORY.processes.map(processLane),
  ].flat().filter((part) => part !== null));
}

const FILTERS = {
  told: "told", asked: "asked", life: "processes", fault: "faults", note: "notes", report: "reports", routine: "routine",
};

function rows() {
  $("kinds").append(...Object.entries(FILTERS).map(([kind, name]) =>
    el("label", {}, el("input", { type: "checkbox", checked: "", "data-kind": kind }), ` ${name}`)));
  $("list").append(...[...RECORDS.entries()].filter(([i]) => !hidden(i)).map(([i, r]) =>
    el("div", { class: `r ${classOf(r)}`, id: `r${i}`, "data-w": laneOf(r) }, el("i", {}, String(r.n)),
      el("time", {}, clock(r.at_ms)), el("b", {}, partyOf(r)), el("span", {}, words(r)), el("code", {}, rest(r)))));
}

facts();
verdict();
scale();
lanes();
rows();
