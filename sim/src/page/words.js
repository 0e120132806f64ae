// What each record is, in plain words: with a sign, and with as much room on the time axis as it
// deserves.
"use strict";

// Name: sign, room, words.
const KINDS = {
  event: {
    Tick: ["tick", 9, "tick: time to reap, and to look at every board"],
    Wake: ["dot", 1, "the time that it asked for has come"],
    KernelReady: ["bell", 5, "the kernel reports that a child has ended"],
    ChildExited: ["exit", 6, "a worker of its own was reaped"],
    OrphanReaped: ["exit", 5, "a process that it adopted was reaped"],
    Reaped: ["yes", 6, "the reaping step is over"],
    ReapFailed: ["no", 6, "the reaping step failed"],
    BoardAdded: ["dot", 1, "a board is listed"],
    BoardRemoved: ["dot", 2, "a board is no longer listed"],
    BoardsListed: ["dot", 1, "those are all boards"],
    BoardChanged: ["dot", 2, "a board's file has changed"],
    Connected: ["answer", 4, "a board is sound and open"],
    ConnectFailed: ["no", 5, "a board cannot be opened"],
    Exchanged: ["answer", 4, "a board has answered"],
    ExchangeFailed: ["no", 5, "a transaction with a board failed"],
    SpawnOk: ["born", 5, "a worker exists"],
    SpawnFailed: ["no", 6, "a worker could not be started"],
    SpawnCancelled: ["dot", 4, "a start was cancelled in time"],
    Found: ["answer", 5, "what was found of an adopted claim"],
    Signalled: ["dot", 3, "what came of a signal"],
    PolicyChanged: ["dot", 5, "its configuration was changed"],
    Drain: ["bell", 6, "start nothing new, and end"],
    Abort: ["bell", 6, "end everything now"],
  },
  effect: {
    Reap: ["reap", 7, "reap the children that have ended"],
    Signal: ["flag", 7, "signal a worker and its group"],
    ListBoards: ["dot", 1, "which boards are there?"],
    Connect: ["open", 4, "open a board"],
    Exchange: ["ask", 4, "one transaction with a board"],
    Disconnect: ["close", 4, "close a board's file"],
    Spawn: ["spawn", 8, "start a worker"],
    CancelSpawn: ["close", 6, "cancel a start"],
    Find: ["ask", 5, "look for the worker of an adopted claim"],
    Note: ["dot", 2, "note how an attempt ended, for the next dispatcher"],
    SyncNotes: ["dot", 1, "make what was noted survive the host"],
    Forget: ["dot", 1, "nothing more is needed of an attempt"],
  },
  // These stand out a little. What the others report is their name.
  report: {
    ReapFailing: ["dot", 3, "reports: reaping fails"],
    BoardSick: ["dot", 3, "reports: a board is out of use for now"],
    BoardWell: ["dot", 3, "reports: a board is in use again"],
    HostRefuses: ["dot", 3, "reports: the host refuses processes"],
  },
};

const REST = ["dot", 9, ""];
const spaced = (name) => name.replace(/([A-Z])/g, " $1").toLowerCase();
function kindOf(r) {
  if (r.kind === "report") return KINDS.report[r.name] ?? ["dot", 1, `reports:${spaced(r.name)}`];
  return KINDS[r.kind]?.[r.name] ?? REST;
}
const roomOf = (r) => kindOf(r)[1];
const signOf = (r) => ({
  fault: "fault", begins: "begin", dies: "dead", note: "note", overwritten: "note", removed: "note", replaced: "note",
}[r.kind] ?? kindOf(r)[0]);

// By this a row is filtered and coloured.
function classOf(r) {
  if (KINDS[r.kind] && roomOf(r) <= 2) return "routine";
  return {
    event: "told", effect: "asked", report: "report", started: "life", ended: "life", reaped: "life",
    fault: "fault", calm: "calm", broken: "broken",
  }[r.kind] ?? "note";
}

// Whether it comes again and again while nothing happens.
const isQuiet = (r) => KINDS[r.kind] !== undefined
  && (["Tick", "Reap", "Reaped", "Connect", "Connected"].includes(r.name) || r.changes === 0);

function words(r) {
  switch (r.kind) {
    case "started": return `starts as pid ${r.pid}, ${whose(STORY.processes.find((it) => it.n === r.number))}`;
    case "ended": return r.reaper === null ? `${r.status}; its parent or pid 1 reaps it` : `${r.status}; must be reaped now`;
    case "reaped": return "is reaped: its pid is free";
    case "fault": return `fault: ${r.fault}`;
    case "calm": return "from here on nothing goes wrong any more";
    case "broken": return `promise broken: ${r.promise}`;
    case "event": case "effect": case "report": break;
    default: return r.text;
  }
  const said = r.board === undefined ? kindOf(r)[2] : kindOf(r)[2].replace(/(a )?\bboard\b/, `board ${r.board}`);
  const more = [r.pid && `pid ${r.pid}`, r.task, r.whom, r.signal?.toUpperCase(), r.outcome, r.fault].filter(Boolean);
  return more.length ? `${said} (${more.join(", ")})` : said;
}

// What its text says beyond the words.
const rest = (r) => ({ event: r.text, effect: r.text, report: r.text, broken: r.how }[r.kind] ?? "");

const partyOf = (r) => (r.who === "world" ? "world" : `${r.who === "dispatcher" ? "sexton" : r.who} ${r.number}`);
const laneOf = (r) => r.who[0] + (r.number ?? "");
const line = (r) => `${clock(r.at_ms)} s, ${partyOf(r)}: ${words(r)}`;

function whose(process) {
  const of = process.of === undefined ? "" : ` of sexton ${process.of}`;
  if (process.task !== undefined) return `task ${process.task}${of}`;
  return process.leader === undefined ? "a stranger" : `left by process ${process.leader}${of}`;
}

const clock = (ms) => (ms / 1000).toFixed(3);

// How long something lasted, in a unit that fits.
function lasting(ms) {
  if (ms === 0) return "under 1 ms";
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 120_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.floor(ms / 60_000)} min`;
  return `${(Math.floor(ms / 360_000) / 10).toFixed(1)} h`;
}

const between = (from, to) => lasting(Math.max(RECORDS[to].at_ms - RECORDS[from].at_ms, 0));
