// Puts the page together, and moves its parts in step.

const find = id => document.getElementById(id);
const record = readRecord(JSON.parse(find("data").textContent));
const search = find("search"), squeeze = find("squeeze"), canvas = find("lanes"), tip = find("tip");
const lanes = new Lanes(record, canvas, find("stage"), find("branches"));
const consoles = new Consoles(record, find("consoles"));
const list = new EventList(record, find("list"), choose);
const axes = { true: new Axis(record, true), false: new Axis(record, false) };
const last = [...record.branches.values()].at(-1);
let cursor = { branch: last, time: last.end };
let isDrawn = true;

/** Draws once before the next frame, however often it is asked to. */
function redraw() {
  if (isDrawn) requestAnimationFrame(() => { isDrawn = true; lanes.draw(cursor); });
  isDrawn = false;
}

/** Moves the cursor, and all that goes with it. */
function go(branch, time, event) {
  cursor = { branch, time: Math.min(Math.max(time, lanes.axis.times[0]), lanes.axis.times.at(-1)), event };
  find("now").textContent = spoken(cursor.time) + (record.branches.size > 1 ? `, branch ${branch.number}` : "");
  canvas.setAttribute("aria-valuenow", (cursor.time / unit.second).toFixed(6));
  canvas.setAttribute("aria-valuetext", find("now").textContent);
  for (const item of find("branches").children) item.classList.toggle("chosen", Number(item.dataset.branch) === branch.number);
  consoles.show(cursor);
  list.follow(cursor);
  redraw();
}

function choose(event) {
  lanes.reveal(event.time);
  go(record.branches.get(event.branch), event.time, event);
}

function applyFilter() {
  list.filter(search.value, lanes.shown);
  find("shown").textContent = list.events.length === record.events.length
    ? `${record.events.length}` : `${list.events.length} of ${record.events.length}`;
  redraw();
}

function takeAxis() {
  lanes.take(axes[squeeze.checked]);
  redraw();
}

function fillHeader() {
  document.title = `${record.fleet} · VmLab report`;
  find("fleet").textContent = record.fleet;
  const { passed, message } = record.outcome ?? {};
  find("outcome").textContent = passed === undefined ? "as it stood" : passed ? "passed" : "failed";
  find("outcome").className = passed === undefined ? "" : passed ? "passed" : "failed";
  const facts = { seed: record.seed, "guest time": spoken(record.now), machines: record.machines.length, events: record.events.length };
  if (record.elapsed !== record.now) facts.elapsed = spoken(record.elapsed);
  if (record.branches.size > 1) facts.branches = record.branches.size;
  for (const [name, value] of Object.entries(facts)) {
    const fact = document.createElement("div");
    fact.append(element("dt", name), element("dd", value));
    find("facts").append(fact);
  }
  if (message) Object.assign(find("failure"), { textContent: message, hidden: false, className: passed ? "passed" : "" });
  if (record.replay) {
    find("replay").hidden = false;
    find("replay").querySelector("code").textContent = record.replay;
    find("replay").querySelector("button").addEventListener("click", () => navigator.clipboard?.writeText(record.replay));
  }
  const warnings = [
    ...record.unfired.map(fault => `A fault never struck: ${fault}`), ...record.unmet.map(name => `It was never so that ${name}`),
  ];
  find("warnings").hidden = warnings.length === 0;
  find("warnings").append(...warnings.map(warning => element("li", warning)));
}

function fillLegend() {
  families.forEach((family, i) => {
    const count = record.events.filter(event => event.kind.family === i).length;
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const mark = document.createElement("canvas");
    button.dataset.family = family.name;
    button.setAttribute("aria-pressed", "true");
    button.append(mark, family.name, element("small", count));
    button.addEventListener("click", () => {
      lanes.shown[i] = !lanes.shown[i];
      button.setAttribute("aria-pressed", lanes.shown[i]);
      applyFilter();
    });
    find("legend").append(button);
  });
  drawLegend();
}

function drawLegend() {
  families.forEach((family, i) => drawMark(
    fresh(find("legend").children[i].firstElementChild, 14, 14), Object.values(family.kinds)[0], 7, 7, 11, color(family.color)));
}

function fillTotals() {
  fillMigrations(record.migrations, find("migrations"));
  const reasons = [...new Set(record.machines.flatMap(machine => machine.exits.map(([reason]) => reason)))];
  fillTable("machines", ["machine", "memory", "status", "instructions", ...reasons], record.machines.map(machine => {
    const exits = new Map(machine.exits);
    return [machine.name, machine.memory, machine.status, machine.retired, ...reasons.map(reason => exits.get(reason) ?? 0)];
  }));
  find("networks").hidden = record.networks.length === 0;
  fillTable("networks", ["network", "frames", "bytes", "dropped", "lost"],
    record.networks.map(network => [network.name, network.frames, network.bytes, network.dropped, network.lost]));
}

function fillTable(id, names, rows) {
  const cells = (tag, values) => {
    const row = document.createElement("tr");
    row.append(...values.map(value => Object.assign(
      element(tag, typeof value === "number" ? value.toLocaleString("en") : value), { className: typeof value })));
    return row;
  };
  const head = document.createElement("thead"), body = document.createElement("tbody");
  head.append(cells("th", names));
  body.append(...rows.map(row => cells("td", row)));
  find(id).append(head, body);
}

function showTip(event) {
  const at = lanes.laneAt(event.offsetY);
  const near = at ? lanes.eventsNear(at.band.branch, at.lane, event.offsetX, 7) : [];
  tip.hidden = near.length === 0;
  if (tip.hidden) return;
  const mostLines = 8;
  tip.replaceChildren(...near.slice(0, mostLines).map(happened => {
    const line = document.createElement("div");
    line.append(element("time", `${spoken(happened.time)}  `), happened.text);
    return line;
  }));
  if (near.length > mostLines) tip.append(element("div", `and ${near.length - mostLines} more`));
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8)}px`;
}

function followPointer() {
  let drag = null;
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    const at = lanes.laneAt(event.offsetY);
    drag = at ? { branch: at.band.branch } : { pansFrom: event.offsetX };
    move(event);
  });
  canvas.addEventListener("pointermove", event => drag ? move(event) : showTip(event));
  canvas.addEventListener("pointerup", () => drag = null);
  canvas.addEventListener("pointerleave", () => tip.hidden = true);
  canvas.addEventListener("dblclick", event => { lanes.zoom(.4, event.offsetX); redraw(); });
  canvas.addEventListener("wheel", event => {
    if (event.ctrlKey || event.metaKey) lanes.zoom(Math.exp(event.deltaY / 300), event.offsetX);
    else if (event.shiftKey || event.deltaX) lanes.pan(event.deltaX || event.deltaY);
    else return;   // scrolls
    event.preventDefault();
    redraw();
  }, { passive: false });

  function move(event) {
    if (drag.branch) return go(drag.branch, snapped(event, drag.branch));
    lanes.pan(drag.pansFrom - event.offsetX);
    drag.pansFrom = event.offsetX;
    redraw();
  }

  // A mark that is pointed at is met exactly.
  function snapped(event, branch) {
    const at = lanes.laneAt(event.offsetY);
    const near = at?.band.branch === branch ? lanes.eventsNear(branch, at.lane, event.offsetX, 4) : [];
    return near.length ? near.at(-1).time : lanes.timeAt(event.offsetX);
  }
}

function followKeys() {
  const act = {
    ArrowRight: () => list.events.length && choose(list.step(1)),
    ArrowLeft: () => list.events.length && choose(list.step(-1)),
    ArrowDown: () => goToBranch(1),
    ArrowUp: () => goToBranch(-1),
    Home: () => go(cursor.branch, cursor.branch.start),
    End: () => go(cursor.branch, cursor.branch.end),
    "+": () => lanes.zoom(.6, lanes.xOf(cursor.time)),
    "=": () => lanes.zoom(.6, lanes.xOf(cursor.time)),
    "-": () => lanes.zoom(1 / .6, lanes.xOf(cursor.time)),
    0: takeAxis,
  };
  canvas.addEventListener("keydown", event => {
    if (!(event.key in act) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    act[event.key]();
    redraw();
  });

  function goToBranch(step) {
    const branches = [...record.branches.values()];
    const branch = branches[branches.indexOf(cursor.branch) + step];
    if (branch) go(branch, Math.min(Math.max(cursor.time, branch.start), branch.end));
  }
}

function followControls() {
  find("zoom-in").addEventListener("click", () => { lanes.zoom(.5); redraw(); });
  find("zoom-out").addEventListener("click", () => { lanes.zoom(2); redraw(); });
  find("fit").addEventListener("click", takeAxis);
  squeeze.addEventListener("change", takeAxis);
  search.addEventListener("input", applyFilter);
  find("stage").addEventListener("scroll", redraw);
  find("branches").addEventListener("click", event => {
    const item = event.target.closest("li[data-branch]");
    if (!item || !event.target.matches("button")) return;
    const branch = record.branches.get(Number(item.dataset.branch));
    go(branch, Math.min(Math.max(cursor.time, branch.start), branch.end));
  });
  find("theme").addEventListener("click", () => {
    const isDark = color("ground") !== "#ffffff";
    document.documentElement.dataset.theme = isDark ? "light" : "dark";
    redrawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  new ResizeObserver(redraw).observe(find("stage"));
}

function redrawAll() {
  drawLegend();
  list.draw();
  redraw();
}

fillHeader();
fillLegend();
fillTotals();
squeeze.checked = axes.true.to < axes.false.to / 2;
canvas.setAttribute("aria-valuemax", (axes.false.times.at(-1) / unit.second).toFixed(6));
takeAxis();
lanes.draw(cursor);
followPointer();
followKeys();
followControls();
applyFilter();
go(cursor.branch, cursor.time);
