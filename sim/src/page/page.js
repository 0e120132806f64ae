
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const chart = $("chart"), inner = $("inner"), list = $("list"), cursor = $("cursor"), tip = $("tip");
  const rows = all(".r", list);
  const number = (row) => Number(row.id.slice(1));
  const places = new Map();
  for (const mark of all("use[data-r], text[data-r]", inner)) {
    const n = Number(mark.dataset.r);
    if (!places.has(n)) places.set(n, Number(mark.style.getPropertyValue("--x")));
  }
  let zoom = 1, chosen = null;

  // A label is shown where the one before it leaves room.
  function labels() {
    for (const group of all(".labels", inner)) {
      const texts = all("text", group).map((text) => {
        const middle = text.classList.contains("skip");
        const wide = text.textContent.length * 6 + 12;
        const x = Number(text.style.getPropertyValue("--x")) * zoom - (middle ? wide / 2 : 0);
        return { text, x, wide, first: middle || text.classList.contains("broken") };
      });
      const taken = [];
      texts.sort((a, b) => b.first - a.first || a.x - b.x);
      for (const { text, x, wide } of texts) {
        const free = taken.every(([from, to]) => x >= to || x + wide <= from);
        text.toggleAttribute("hidden", !free);
        if (free) taken.push([x, x + wide]);
      }
    }
  }

  function setZoom(to) {
    const name = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--name"));
    const middle = (chart.scrollLeft + (chart.clientWidth - name) / 2) / zoom;
    const width = Number(inner.style.getPropertyValue("--width"));
    const fit = (chart.clientWidth - name - 335) / width;
    if (to === "fit") zoom = fit;
    else if (to === "one") zoom = 1;
    else zoom *= Number(to);
    zoom = Math.max(Math.min(fit, 1), Math.min(zoom, 6));
    inner.style.setProperty("--z", zoom);
    labels();
    chart.scrollLeft = middle * zoom - (chart.clientWidth - name) / 2;
  }

  // The place of a record: its own, or that of the nearest one before it that has a sign.
  function place(n) {
    while (n >= 0 && !places.has(n)) n -= 1;
    return places.get(n) ?? 0;
  }

  function choose(n, { scrollList = true, scrollChart = true } = {}) {
    const row = $("r" + n);
    if (!row) return;
    for (const old of all(".on")) old.classList.remove("on");
    chosen = n;
    row.classList.add("on");
    row.removeAttribute("hidden");
    for (const mark of all(`use[data-r="${n}"]`, inner)) mark.classList.add("on");
    const x = place(n);
    cursor.removeAttribute("hidden");
    cursor.style.setProperty("--x", x);
    const [, time, who, words, raw] = row.children;
    $("chosen").textContent =
      `${time.textContent} s, ${who.textContent}: ${words.textContent} ${raw.textContent}`;
    if (scrollList) list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 2;
    if (scrollChart) chart.scrollLeft = x * zoom - (chart.clientWidth - 236) * 0.6;
    only();
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
  function only() {
    const on = $("there").checked && chosen !== null;
    for (const lane of all(".lane.process", inner)) {
      const there = Number(lane.dataset.from) <= chosen && chosen <= Number(lane.dataset.to);
      lane.toggleAttribute("hidden", on && !there);
    }
  }

  function filter() {
    const words = $("find").value.toLowerCase().split(" ").filter(Boolean);
    const phrase = $("find").value.toLowerCase().trim();
    const off = new Set(all("[data-kind]").filter((box) => !box.checked).map((box) => box.dataset.kind));
    let count = 0;
    for (const row of rows) {
      const kind = row.classList[1];
      let show = !off.has(kind);
      if (show && words.length) {
        const text = row.textContent.toLowerCase();
        show = phrase.includes(":") ? text.includes(phrase) : words.every((word) => text.includes(word));
        if (show && /^(process|sexton|board) \d+$/.test(phrase)) {
          const [party, n] = phrase.split(" ");
          show = row.dataset.w === party.replace("sexton", "d")[0] + n;
        }
      }
      row.toggleAttribute("hidden", !show);
      count += show;
    }
    $("count").textContent = `${count} of ${rows.length} records`;
  }

  function step(by) {
    let at = chosen === null ? (by > 0 ? -1 : rows.length) : rows.findIndex((row) => number(row) === chosen);
    do at += by; while (rows[at] && rows[at].hasAttribute("hidden"));
    if (rows[at]) choose(number(rows[at]));
  }

  function showTip(event) {
    const mark = event.target.closest?.("[data-r], [data-t]");
    if (!mark || !chart.contains(mark)) return tip.setAttribute("hidden", "");
    tip.textContent = mark.dataset.t ?? "";
    const row = $("r" + mark.dataset.r);
    if (row && !mark.dataset.t) {
      const [, time, who, words, raw] = row.children;
      tip.textContent = `${time.textContent} s, ${who.textContent}: ${words.textContent}`;
      const more = document.createElement("small");
      more.textContent = raw.textContent.slice(0, 400);
      tip.append(more);
    }
    tip.removeAttribute("hidden");
    const { innerWidth: w, innerHeight: h } = window;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, w - tip.offsetWidth - 8)) + "px";
    tip.style.top = (event.clientY + 18 + tip.offsetHeight > h
      ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18) + "px";
  }

  chart.addEventListener("pointermove", showTip);
  chart.addEventListener("pointerleave", () => tip.setAttribute("hidden", ""));
  chart.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-r]");
    if (mark) choose(Number(mark.dataset.r), { scrollChart: false });
  });
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".r");
    if (row && String(getSelection()) === "") {
      choose(number(row), { scrollList: false });
      if (/^[dbp]/.test(row.dataset.w)) showLane(row.dataset.w);
    }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { go, lane, zoom: by, find } = button.dataset;
    if (go) choose(Number(go));
    if (lane) showLane(lane);
    if (by) setZoom(by);
    if (find) {
      $("find").value = find;
      filter();
      $("find").scrollIntoView({ block: "center" });
    }
    if (go || lane) chart.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest?.("input") || event.altKey || event.ctrlKey || event.metaKey) return;
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) {
      event.preventDefault();
      step(by);
    }
  });
  $("find").addEventListener("input", filter);
  $("there").addEventListener("change", only);
  for (const box of all("[data-kind]")) box.addEventListener("change", filter);

  labels();
  filter();
  const begin = location.hash.match(/^#r(\d+)$/)?.[1] ?? $("list").querySelector(".broken")?.id.slice(1);
  if (begin !== undefined) choose(Number(begin));
})();
