// What became of each dispatcher, board and process, read from the records. Records are named by
// their place in RECORDS; `n` is a record's number in the whole run.
"use strict";

const RUN = JSON.parse(document.getElementById("run").textContent);
const RECORDS = RUN.trace;
const END = Math.max(RECORDS.length - 1, 0);
const [CUT_FROM, CUT_TO] = RUN.cut;

// Whether a record is in the part of a long run that is not drawn.
const hidden = (i) => RECORDS[i].n >= CUT_FROM && RECORDS[i].n < CUT_TO;

const STORY = { dispatchers: [], boards: [], processes: [], world: [], calm: null, broken: null };

const dispatcher = (n) => (STORY.dispatchers[n] ??= { n, lives: [], alive: false, marks: [] });
const board = (n) => (STORY.boards[n] ??= { n, requests: [], troubles: [], aside: [], marks: [] });

// The end of a trouble is often not recorded, only that the board was seen to be well later.
function heal(board, i, names, seen) {
  for (const trouble of board.troubles) {
    if (trouble.to === null && names.includes(trouble.name)) Object.assign(trouble, { to: i, seen });
  }
}

function backInUse(board, i, n) {
  for (const aside of board.aside) if (aside.of === n && aside.to === null) aside.to = i;
}

// A request is answered. It may have been asked before the cut.
function answered(board, i, n, seq, outcome) {
  const request = board.requests.findLast((it) =>
    it.of === n && it.seq === seq && ["open", "cut"].includes(it.outcome));
  return Object.assign(request ?? {}, { to: i, outcome });
}

const FILE = ["busy", "disk full", "read-only"];

const DISPATCHER = {
  begins(i, r, it) {
    it.lives.push({ from: i, to: null });
    it.alive = true;
  },
  dies(i, r, it) {
    it.alive = false;
    it.lives.at(-1).to = i;
    for (const board of STORY.boards.filter(Boolean)) {
      for (const request of board.requests) {
        if (request.of === it.n && request.outcome === "open") Object.assign(request, { to: i, outcome: "lost" });
      }
      backInUse(board, i, it.n);
    }
    for (const process of STORY.processes.filter(Boolean)) {
      if (process.reaper === it.n && process.gone === "zombie") Object.assign(process, { goneAt: i, gone: "orphaned" });
    }
  },
  event(i, r, it) {
    if (["Connected", "Exchanged"].includes(r.name)) {
      const request = answered(board(r.board), i, it.n, r.seq, r.wrote > 0 ? "wrote" : "looked");
      heal(board(r.board), i, request.changes > 0 ? FILE : ["busy"], true);
    } else if (["ConnectFailed", "ExchangeFailed"].includes(r.name)) {
      answered(board(r.board), i, it.n, r.seq, r.maybe ? "maybe" : "failed");
    }
  },
  effect(i, r, it) {
    if (!["Connect", "Exchange"].includes(r.name)) return;
    board(r.board).requests.push({ of: it.n, from: i, to: END, outcome: "open", seq: r.seq, changes: r.changes });
  },
  report(i, r, it) {
    if (!["BoardSick", "BoardWell"].includes(r.name)) return;
    backInUse(board(r.board), i, it.n);
    if (r.name === "BoardSick") board(r.board).aside.push({ of: it.n, from: i, to: null });
  },
};

function boardRecord(i, r, it) {
  it.marks.push(i);
  if (r.kind === "replaced") return heal(it, i, ["corrupt", "removed"], false);
  const name = { overwritten: "corrupt", removed: "removed" }[r.kind]
    ?? FILE.find((name) => r.kind === "fault" && r.fault.startsWith(name));
  if (!name) return;
  heal(it, i, [name], true);
  it.troubles.push({ name, from: i, to: null, seen: false });
}

const PROCESS = {
  started(i, r) {
    const leader = STORY.processes[r.leader];
    STORY.processes[r.number] = {
      n: r.number, pid: r.pid, task: r.task, leader: r.leader, of: r.dispatcher ?? leader?.of,
      from: i, ended: null, gone: "alive", goneAt: null, faults: [],
    };
  },
  // Its reaper is known only now: a member of a group is left to the reaper of its leader.
  ended(i, r, it) {
    Object.assign(it, { ended: i, status: r.status, reaper: r.reaper, gone: r.reaper === null ? "at once" : "zombie" });
  },
  reaped(i, r, it) {
    Object.assign(it, { gone: "reaped", goneAt: i });
  },
  fault(i, r, it) {
    it.faults.push(i);
  },
};

function worldRecord(i, r) {
  if (r.kind === "calm") {
    STORY.calm = i;
    for (const board of STORY.boards.filter(Boolean)) heal(board, i, FILE, true);
  } else if (r.kind === "broken") STORY.broken = i;
  else STORY.world.push(i);
}

// What is asked before the cut, or in it, has no answer here.
function cutRequests(i) {
  for (const request of STORY.boards.flatMap((board) => board?.requests ?? [])) {
    if (request.outcome === "open") Object.assign(request, { to: i, outcome: "cut" });
  }
}

RECORDS.forEach((r, i) => {
  if (CUT_TO > 0 && r.n >= CUT_FROM && (i === 0 || RECORDS[i - 1].n < CUT_FROM)) cutRequests(i);
  if (r.who === "world") worldRecord(i, r);
  else if (r.who === "board") boardRecord(i, r, board(r.number));
  else if (r.who === "process") PROCESS[r.kind]?.(i, r, STORY.processes[r.number]);
  else {
    dispatcher(r.number).marks.push(i);
    DISPATCHER[r.kind]?.(i, r, dispatcher(r.number));
  }
});

// What is open lasts until the end.
for (const { lives } of STORY.dispatchers.filter(Boolean)) for (const life of lives) life.to ??= END;
for (const { troubles, aside } of STORY.boards.filter(Boolean)) {
  for (const span of [...troubles, ...aside]) span.to ??= END;
}
for (const process of STORY.processes.filter(Boolean)) {
  process.zombieTo = { zombie: END, reaped: process.goneAt, orphaned: process.goneAt }[process.gone] ?? null;
  process.to = process.zombieTo ?? process.ended ?? END;
}
for (const all of ["dispatchers", "boards", "processes"]) STORY[all] = STORY[all].filter(Boolean);
