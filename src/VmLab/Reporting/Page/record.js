// The run as its record has it. Times are in units of 100 ns of guest time.

const unit = { second: 1e7, millisecond: 1e4, microsecond: 10 };

const spoken = time => `${(time / unit.second).toFixed(6)} s`;

/** What the legend names, and how each is drawn: kinds of events that belong together. */
const families = [
  { name: "Power", color: "power", kinds: { PoweredOn: "triangle", Up: "disc", Stopped: "square", Paused: "bars", Continued: "arrow" } },
  { name: "Commands", color: "command", kinds: { CommandBegun: "begin", CommandEnded: "end" } },
  { name: "Faults", color: "fault", kinds: { Fault: "bolt" } },
  { name: "Moments", color: "moment", kinds: { Snapshot: "flag", Restored: "turn" } },
  { name: "Migrations", color: "migration", kinds: { Migration: "arrow" } },
  { name: "Failures", color: "failure", kinds: { Failure: "cross" } },
  { name: "Notes", color: "note", kinds: { Note: "ring" } },
];

function sums(differences, start = 0) {
  const values = new Float64Array(differences.length);
  let sum = start;
  for (let i = 0; i < values.length; i++) values[i] = sum += differences[i];
  return values;
}

/** How many of the sorted values are at most the one given. */
function countUpTo(values, value, length = values.length) {
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1; else high = middle;
  }
  return low;
}

function familyOf(kind) {
  const index = families.findIndex(family => kind in family.kinds);
  return index < 0 ? families.length - 1 : index;
}

function readRecord(data) {
  const kinds = data.kinds.map(kind => ({
    name: kind, family: familyOf(kind), shape: families[familyOf(kind)].kinds[kind] ?? "ring",
  }));
  const times = sums(data.events.times);
  const events = Array.from(times, (time, i) => ({
    index: i, time, branch: data.events.branches[i], machine: data.events.machines[i], kind: kinds[data.events.kinds[i]],
    text: data.texts[data.events.texts[i]], task: data.events.tasks[i],
  }));
  const branches = new Map(data.branches.map(branch => [branch.number, {
    ...branch,
    machines: branch.machines.map(machine => readMachine(machine, branch)),
    lanes: Array.from({ length: data.machines.length + 1 }, () => []),   // the lab's own first, then a machine's each
  }]));
  for (const event of events) branches.get(event.branch)?.lanes[event.machine + 1].push(event);
  for (const branch of branches.values()) {
    branch.end = Math.max(branch.end, branch.start, ...branch.lanes.map(lane => lane.at(-1)?.time ?? 0));
    for (const lane of branch.lanes) lane.sort((a, b) => a.time - b.time || a.index - b.index);
    branch.machines.forEach((machine, i) => {
      machine.phases = phasesOf(machine.first, branch, branch.lanes[i + 1]);
      machine.spans = spansOf(branch, branch.lanes[i + 1]);
    });
  }
  return { ...data, kinds, events, branches };
}

function readMachine(machine, branch) {
  const console = machine.console;
  return {
    first: machine.first,
    load: { ends: sums(machine.load.ends, branch.start), percents: machine.load.percents },
    console: { ...console, times: sums(console.times), ends: sums(console.counts) },
  };
}

/** The stretches in which a machine was off, on (not up yet), up, paused, or its kernel had panicked. */
function phasesOf(first, branch, lane) {
  const next = { PoweredOn: "on", Up: "up", Stopped: "off", Paused: "paused", Failure: "panicked" };
  const phases = [{ from: branch.start, name: first }];
  let before = first;
  for (const event of lane) {
    const now = phases.at(-1).name;
    const name = event.kind.name === "Continued" ? before : next[event.kind.name];
    if (!name || name === now) continue;
    if (name === "paused") before = now;
    phases.push({ from: event.time, name });
  }
  phases.forEach((phase, i) => phase.to = phases[i + 1]?.from ?? branch.end);
  return phases;
}

/** Commands as stretches of time; one that began before the branch did has no beginning in it. */
function spansOf(branch, lane) {
  const begun = new Map(), spans = [];
  for (const event of lane) {
    if (event.kind.name === "CommandBegun") begun.set(event.task, event);
    else if (event.kind.name === "CommandEnded") {
      const begin = begun.get(event.task);
      begun.delete(event.task);
      spans.push({ from: begin?.time ?? branch.start, to: event.time, text: (begin ?? event).text.match(/`(.*)`/)?.[1] ?? "" });
    }
  }
  for (const begin of begun.values()) spans.push({ from: begin.time, to: branch.end, text: begin.text.match(/`(.*)`/)?.[1] ?? "" });
  return spans.sort((a, b) => a.from - b.from);
}

/** What a machine's console had printed by a time, from its power-on on, through the branches that led there. */
function consoleText(record, branch, machine, time) {
  if (time < branch.start && record.branches.has(branch.parent))
    return consoleText(record, record.branches.get(branch.parent), machine, time);
  const console = branch.machines[machine].console;
  const printed = countUpTo(console.times, time);
  return beginningOf(record, branch, machine) + console.text.slice(0, printed ? console.ends[printed - 1] : 0);
}

function beginningOf(record, branch, machine) {
  const console = branch.machines[machine].console;
  if (console.beginning === undefined) {
    const from = record.branches.get(console.from);
    console.beginning = from
      ? (beginningOf(record, from, machine) + from.machines[machine].console.text).slice(0, console.length)
      : console.before ?? "";
  }
  return console.beginning;
}

/** What a machine was at a time. */
function phaseAt(record, branch, machine, time) {
  if (time < branch.start && record.branches.has(branch.parent))
    return phaseAt(record, record.branches.get(branch.parent), machine, time);
  const phases = branch.machines[machine].phases;
  return phases[Math.max(0, countUpTo(phases.map(phase => phase.from), time) - 1)].name;
}

/** How busy a machine was at a time, in percent. */
function loadAt(branch, machine, time) {
  const load = branch.machines[machine].load;
  return load.percents[Math.min(countUpTo(load.ends, time), load.percents.length - 1)] ?? 0;
}
