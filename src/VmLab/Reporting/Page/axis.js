// Guest time on a line: as it is, or with idle stretches squeezed, so that an hour's sleep leaves room for the rest.

/** Maps time to places on a line, piece by piece, and back. */
class Axis {
  constructor(record, squeezes) {
    const { from, to, active } = activityOf(record);
    this.times = [from];
    this.places = [0];
    this.squeezed = [];
    if (squeezes) {
      const sum = active.reduce((total, [begin, end]) => total + end - begin, 0);
      const longest = Math.max(sum / 6, unit.millisecond);   // an idle stretch up to this is shown as it is
      let reached = from;
      for (const [begin, end] of active) {
        if (begin - reached > longest) this.#squeeze(reached, begin, longest);
        reached = Math.max(reached, end);
      }
      if (to - reached > longest) this.#squeeze(reached, to, longest);
    }
    this.#add(to, this.places.at(-1) + to - this.times.at(-1));
    this.from = 0;
    this.to = Math.max(this.places.at(-1), 1);
  }

  placeOf(time) { return interpolate(this.times, this.places, time); }

  timeOf(place) { return interpolate(this.places, this.times, place); }

  // Ten times as long looks a step longer, and no more.
  #squeeze(begin, end, longest) {
    this.#add(begin, this.places.at(-1) + begin - this.times.at(-1));
    this.squeezed.push(this.times.length - 1);
    this.#add(end, this.places.at(-1) + longest * (1 + Math.log10((end - begin) / longest)));
  }

  #add(time, place) {
    this.times.push(time);
    this.places.push(place);
  }
}

function interpolate(from, to, value) {
  const last = from.length - 1;
  const i = Math.min(Math.max(countUpTo(from, value), 1), last);
  const width = from[i] - from[i - 1];
  return width === 0 ? to[i] : to[i - 1] + (value - from[i - 1]) * (to[i] - to[i - 1]) / width;
}

/** Where something happened, was printed or was computed: stretches, in order, that do not overlap. */
function activityOf(record) {
  const busyPercent = 10;
  const stretches = [];
  let from = Infinity, to = 0;
  for (const event of record.events) stretches.push([event.time, event.time]);
  for (const branch of record.branches.values()) {
    from = Math.min(from, branch.start);
    to = Math.max(to, branch.end);
    for (const machine of branch.machines) {
      for (const time of machine.console.times) stretches.push([time, time]);
      machine.load.percents.forEach((percent, i) => {
        if (percent >= busyPercent) stretches.push([i ? machine.load.ends[i - 1] : branch.start, machine.load.ends[i]]);
      });
    }
  }
  stretches.sort((a, b) => a[0] - b[0]);
  const active = [];
  const near = (to - from) / 1e4;
  for (const [begin, end] of stretches) {
    const last = active.at(-1);
    if (last && begin - last[1] <= near) last[1] = Math.max(last[1], end);
    else active.push([begin, end]);
  }
  return { from, to: Math.max(to, from + 1), active };
}

/** Times at which to write on the scale, a nice number apart, that far from each other in pixels at least. */
function ticksOf(axis, view, width, apart) {
  const perPixel = (view.to - view.from) / width;
  let step = 1;
  for (let i = 0; step < perPixel * apart; i++) step *= [2, 2.5, 2][i % 3];
  const ticks = [];
  for (let i = 1; i < axis.times.length; i++) {
    if (axis.squeezed.includes(i - 1) || axis.places[i] < view.from || axis.places[i - 1] > view.to) continue;
    const begin = Math.max(axis.times[i - 1], axis.timeOf(view.from)), end = Math.min(axis.times[i], axis.timeOf(view.to));
    for (let time = Math.ceil(begin / step) * step; time <= end; time += step) ticks.push(time);
  }
  return { ticks, step };
}

function shortTime(time, step) {
  const digits = Math.max(0, Math.ceil(7 - Math.log10(step) - 1e-9));
  return `${(time / unit.second).toFixed(Math.min(digits, 7))} s`;
}
