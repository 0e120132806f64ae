// What the page does when it is used: zoom, choosing a moment, search, keyboard.
"use strict";

const all = (what, where = document) => [...where.querySelectorAll(what)];
const chart = $("chart"), inner = $("inner"), list = $("list"), cursor = $("cursor"), tip = $("tip");
const ROWS = all(".r", list);
const number = (row) => Number(row.id.slice(1));
const nameWidth = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--name"));
let zoom = 1, chosen = null;

// A label is shown where the one before it leaves room.
function placeLabels() {
  for (const group of all(".labels", inner)) {
    const texts = all("text", group).map((text) => {
      const middle = text.classList.contains("skip");
      const wide = text.textContent.length * 6 + 12;
      const x = Number(text.style.getPropertyValue("--x")) * zoom - (middle ? wide / 2 : 0);
      return { text, x, wide, first: middle || text.classList.contains("broken") };
    });
    const taken = [];
    for (const { text, x, wide } of texts.sort((a, b) => b.first - a.first || a.x - b.x)) {
      const free = taken.every(([from, to]) => x >= to || x + wide <= from);
      text.toggleAttribute("hidden", !free);
      if (free) taken.push([x, x + wide]);
    }
  }
}

function setZoom(to) {
  const room = chart.clientWidth - nameWidth();
  const middle = (chart.scrollLeft + room / 2) / zoom;
  const fit = (room - 335) / WIDTH;
  const wanted = { fit, one: 1 }[to] ?? zoom * Number(to);
  zoom = Math.max(Math.min(fit, 1), Math.min(wanted, 6), 0.02);
  inner.style.setProperty("--z", zoom);
  placeLabels();
  chart.scrollLeft = middle * zoom - room / 2;
}

function choose(i, { scrollList = true, scrollChart = true } = {}) {
  // One that is not drawn gives way to the last one before it.
  while (i > 0 && !$(`r${i}`)) i -= 1;
  const row = $(`r${i}`);
  if (!row) return;
  for (const old of all(".on")) old.classList.remove("on");
  chosen = i;
  row.classList.add("on");
  row.removeAttribute("hidden");
  for (const mark of all(`use[data-r="${i}"]`, inner)) mark.classList.add("on");
  cursor.removeAttribute("hidden");
  cursor.style.setProperty("--x", X[i]);
  $("chosen").textContent = `${line(RECORDS[i])} ${rest(RECORDS[i])}`;
  if (scrollList) list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 2;
  if (scrollChart) chart.scrollLeft = X[i] * zoom - (chart.clientWidth - nameWidth()) * 0.6;
  onlyThere();
}

function showLane(id) {
  const lane = $(id);
  if (!lane) return;
  lane.removeAttribute("hidden");
  chart.scrollTop = lane.offsetTop - chart.clientHeight / 2;
  lane.classList.add("flash");
  setTimeout(() => lane.classList.remove("flash"), 1600);
}

// Hides the processes that are not there at the chosen moment.
function onlyThere() {
  const on = $("there").checked && chosen !== null;
  for (const lane of all(".lane.process", inner)) {
    const there = Number(lane.dataset.from) <= chosen && chosen <= Number(lane.dataset.to);
    lane.toggleAttribute("hidden", on && !there);
  }
}

// "process 3" finds its own records alone; text with a colon is taken as it is; of other text every
// word must be there.
function filter() {
  const phrase = $("find").value.toLowerCase().trim();
  const [, party, n] = phrase.match(/^(process|sexton|board) (\d+)$/) ?? [];
  const wanted = phrase.includes(":") ? [phrase] : phrase.split(" ").filter(Boolean);
  const off = new Set(all("[data-kind]").filter((box) => !box.checked).map((box) => box.dataset.kind));
  let count = 0;
  for (const row of ROWS) {
    const found = party ? row.dataset.w === party.replace("sexton", "d")[0] + n
      : wanted.every((word) => row.textContent.toLowerCase().includes(word));
    const show = found && !off.has(row.classList[1]);
    row.toggleAttribute("hidden", !show);
    count += show;
  }
  $("count").textContent = `${count} of ${ROWS.length} records`;
}

function step(by) {
  let at = chosen === null ? (by > 0 ? -1 : ROWS.length) : ROWS.findIndex((row) => number(row) === chosen);
  do at += by; while (ROWS[at]?.hasAttribute("hidden"));
  if (ROWS[at]) choose(number(ROWS[at]));
}

function showTip(event) {
  const mark = event.target.closest?.("[data-r]");
  if (!mark) return tip.setAttribute("hidden", "");
  const record = RECORDS[mark.dataset.r];
  tip.replaceChildren(mark.dataset.t ?? line(record),
    mark.dataset.t ? "" : el("small", {}, rest(record).slice(0, 400)));
  tip.removeAttribute("hidden");
  const above = event.clientY + 18 + tip.offsetHeight > innerHeight;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${above ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18}px`;
}

chart.addEventListener("pointermove", showTip);
chart.addEventListener("pointerleave", () => tip.setAttribute("hidden", ""));
chart.addEventListener("click", (event) => {
  const mark = event.target.closest("[data-r]");
  if (mark) choose(Number(mark.dataset.r), { scrollChart: false });
});
list.addEventListener("click", (event) => {
  const row = event.target.closest(".r");
  if (!row || String(getSelection()) !== "") return;
  choose(number(row), { scrollList: false });
  showLane(row.dataset.w);
});
document.addEventListener("click", (event) => {
  const { go, lane, zoom: by, find } = event.target.closest("button")?.dataset ?? {};
  if (go) choose(Number(go));
  if (lane) showLane(lane);
  if (by) setZoom(by);
  if (find) {
    $("find").value = find;
    filter();
  }
  if (go || lane) chart.scrollIntoView({ block: "nearest" });
});
document.addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by || event.target.closest?.("input") || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  step(by);
});
$("find").addEventListener("input", filter);
$("there").addEventListener("change", onlyThere);
for (const box of all("[data-kind]")) box.addEventListener("change", filter);

placeLabels();
filter();
const begin = location.hash.match(/^#r(\d+)$/)?.[1];
const first = begin === undefined ? STORY.broken : RECORDS.findLastIndex((r) => r.n <= Number(begin));
if (first !== null) choose(first);
