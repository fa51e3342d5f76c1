// The timeline's drawing: a band for each branch, in it a lane for the lab and one for each machine.

const scaleHeight = 26, bandHeight = 24, laneHeight = 40;

const color = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Draws the mark of an event's kind around a point. */
function drawMark(context, shape, x, y, size, paint) {
  const half = size / 2;
  const path = points => {
    context.beginPath();
    points.forEach(([dx, dy], i) => context[i ? "lineTo" : "moveTo"](x + dx * half, y + dy * half));
  };
  context.fillStyle = context.strokeStyle = paint;
  context.lineWidth = 1.6;
  switch (shape) {
    case "triangle": path([[-.9, .8], [.9, .8], [0, -.9]]); return context.fill();
    case "arrow": path([[-.7, -.9], [-.7, .9], [.9, 0]]); return context.fill();
    case "square": path([[-.75, -.75], [.75, -.75], [.75, .75], [-.75, .75]]); return context.fill();
    case "bolt": path([[.25, -1.1], [-.85, .2], [-.1, .2], [-.3, 1.1], [.85, -.25], [.1, -.25]]); return context.fill();
    case "flag": path([[-.6, 1.1], [-.6, -1], [.9, -.45], [-.6, .1]]); context.stroke(); return context.fill();
    case "begin": path([[-.8, -.8], [-.8, .8]]); context.stroke(); path([[-.8, 0], [.9, 0]]); return context.stroke();
    case "end": path([[.8, -.8], [.8, .8]]); context.stroke(); path([[-.9, 0], [.8, 0]]); return context.stroke();
    case "cross": path([[-.75, -.75], [.75, .75]]); context.stroke(); path([[.75, -.75], [-.75, .75]]); return context.stroke();
    case "bars": path([[-.4, -.8], [-.4, .8]]); context.stroke(); path([[.4, -.8], [.4, .8]]); return context.stroke();
    case "turn":
      context.beginPath();
      context.arc(x, y, half * .75, -.4, 4.2);
      context.stroke();
      path([[.95, -.75], [.8, .25], [.05, -.35]]);
      return context.fill();
    default:
      context.beginPath();
      context.arc(x, y, half * .7, 0, 7);
      return shape === "ring" ? context.stroke() : context.fill();
  }
}

/** Readies a canvas of so many CSS pixels for the screen's own, and clears it. */
function fresh(canvas, width, height) {
  const ratio = devicePixelRatio;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

class Lanes {
  constructor(record, canvas, stage, list) {
    Object.assign(this, { record, canvas, stage });
    this.shown = families.map(() => true);
    this.bands = [...record.branches.values()].map((branch, i) => ({
      branch, top: scaleHeight + i * (bandHeight + record.machines.length * laneHeight),
    }));
    this.height = scaleHeight + this.bands.length * (bandHeight + record.machines.length * laneHeight);
    this.#name(list);
    canvas.parentElement.style.height = `${this.height}px`;
  }

  /** Turns to another axis and shows all of it. */
  take(axis) {
    this.axis = axis;
    const width = (axis.to - axis.from) * 0.015;
    this.limits = { from: axis.from - width, to: axis.to + width };
    this.view = { ...this.limits };
  }

  xOf(time) { return (this.axis.placeOf(time) - this.view.from) / (this.view.to - this.view.from) * this.width; }

  timeAt(x) { return this.axis.timeOf(this.view.from + x / this.width * (this.view.to - this.view.from)); }

  /** The band, and the lane in it (0: the lab's), at a height of the canvas; nothing on the scale. */
  laneAt(y) {
    if (y < scaleHeight) return null;
    const whole = y + this.stage.scrollTop;
    const band = this.bands.findLast(band => band.top <= whole) ?? this.bands[0];
    const below = whole - band.top - bandHeight;
    return { band, lane: below < 0 ? 0 : Math.min(1 + Math.floor(below / laneHeight), this.record.machines.length) };
  }

  /** Events that are shown, of a lane, within some pixels of a place. */
  eventsNear(branch, lane, x, pixels) {
    const events = branch.lanes[lane];
    const from = this.timeAt(x - pixels), to = this.timeAt(x + pixels);
    const near = [];
    for (let i = firstFrom(events, from); i < events.length && events[i].time <= to; i++)
      if (this.shown[events[i].kind.family]) near.push(events[i]);
    return near;
  }

  zoom(factor, x = this.width / 2) {
    const narrowest = 10;
    const place = this.view.from + x / this.width * (this.view.to - this.view.from);
    const width = Math.min(Math.max((this.view.to - this.view.from) * factor, narrowest), this.limits.to - this.limits.from);
    this.#show(place - x / this.width * width, width);
  }

  pan(pixels) {
    const width = this.view.to - this.view.from;
    this.#show(this.view.from + pixels / this.width * width, width);
  }

  /** Moves the view, if it must, so that a time is in it. */
  reveal(time) {
    const place = this.axis.placeOf(time), width = this.view.to - this.view.from;
    if (place < this.view.from || place > this.view.to) this.#show(place - width / 2, width);
  }

  draw(cursor) {
    this.width = this.canvas.parentElement.clientWidth;
    const height = Math.min(this.height, this.stage.clientHeight);
    this.canvas.style.height = `${height}px`;
    const context = fresh(this.canvas, this.width, height);
    this.paint = Object.fromEntries(
      ["ground", "panel", "line", "text", "muted", "band", "cursor", "load", "off", "on", "up", "paused", "panicked", "accent",
        ...families.map(family => family.color)].map(name => [name, color(name)]));
    context.font = "11px ui-monospace, 'DejaVu Sans Mono', monospace";
    context.textBaseline = "middle";
    const scroll = this.stage.scrollTop;
    for (const band of this.bands) {
      const top = band.top - scroll;
      if (top < height && top + bandHeight + laneHeight * this.record.machines.length > scaleHeight)
        this.#drawBand(context, band.branch, top, cursor.branch === band.branch);
    }
    for (const band of this.bands) this.#drawOrigin(context, band, scroll);
    this.#drawScale(context, height);
    this.#drawCursor(context, cursor, scroll, height);
  }

  #show(from, width) {
    from = Math.min(Math.max(from, this.limits.from), this.limits.to - width);
    this.view = { from, to: from + width };
  }

  #name(list) {
    for (const { branch } of this.bands) {
      const item = document.createElement("li"), machines = document.createElement("ol");
      const title = Object.assign(document.createElement("button"), { type: "button", className: "branch" });
      title.textContent = branch.moment === undefined ? "lab"
        : branch.number === 0 ? `grown from “${branch.moment}”` : `${branch.number}: from “${branch.moment}”`;
      title.title = title.textContent;
      for (const machine of this.record.machines)
        machines.append(Object.assign(document.createElement("li"), { className: "machine", textContent: machine.name }));
      item.append(title, machines);
      item.dataset.branch = branch.number;
      list.append(item);
    }
  }

  #drawBand(context, branch, top, isChosen) {
    const { paint, width } = this;
    context.fillStyle = paint.band;
    context.fillRect(0, top, width, bandHeight);
    const from = this.xOf(branch.start), to = this.xOf(branch.end);
    branch.machines.forEach((machine, i) => {
      const y = top + bandHeight + i * laneHeight;
      context.fillStyle = paint.line;
      context.fillRect(0, y, width, 1);
      this.#drawPhases(context, machine, y);
      this.#drawLoad(context, branch, machine, y);
      this.#drawPrinted(context, machine, y);
      this.#drawSpans(context, machine, y);
      this.#drawEvents(context, branch.lanes[i + 1], y + 14);
    });
    const bottom = top + bandHeight + branch.machines.length * laneHeight;
    this.#drawLabEvents(context, branch.lanes[0], top, bottom);
    context.fillStyle = isChosen ? paint.accent : paint.muted;
    context.fillRect(from, top + bandHeight - 2, Math.max(1, to - from), 2);
  }

  #drawPhases(context, machine, y) {
    for (const phase of machine.phases) {
      const from = Math.max(0, this.xOf(phase.from)), to = Math.min(this.width, this.xOf(phase.to));
      if (to <= from) continue;
      context.fillStyle = this.paint[phase.name];
      context.globalAlpha = phase.name === "off" ? 1 : 0.55;
      context.fillRect(from, y + 1, to - from, laneHeight - 1);
      context.globalAlpha = 1;
    }
  }

  #drawLoad(context, branch, machine, y) {
    const { ends, percents } = machine.load;
    const floor = y + laneHeight - 4, full = laneHeight - 10;
    context.fillStyle = this.paint.load;
    for (let i = Math.max(0, countUpTo(ends, this.timeAt(0))); i < percents.length; i++) {
      const from = this.xOf(i ? ends[i - 1] : branch.start), to = this.xOf(ends[i]);
      if (from > this.width) break;
      const height = full * percents[i] / 100;
      if (height > 0) context.fillRect(from, floor - height, Math.max(to - from, .5), height);
    }
  }

  // A strip at the lane's foot that is dark where the console got something.
  #drawPrinted(context, machine, y) {
    const times = machine.console.times;
    context.fillStyle = this.paint.muted;
    let drawn = -1;
    for (let i = firstFromTime(times, this.timeAt(0)); i < times.length; i++) {
      const x = Math.floor(this.xOf(times[i]));
      if (x > this.width) break;
      if (x !== drawn) context.fillRect(x, y + laneHeight - 4, 1, 3);
      drawn = x;
    }
  }

  #drawSpans(context, machine, y) {
    if (!this.shown[familyOf("CommandBegun")]) return;
    const top = y + 22, height = 12;
    let labelled = -Infinity;
    for (const span of machine.spans) {
      const from = this.xOf(span.from), to = this.xOf(span.to);
      if (to < 0 || from > this.width) continue;
      context.fillStyle = this.paint.command;
      context.globalAlpha = .28;
      context.fillRect(from, top, Math.max(3, to - from), height);
      context.globalAlpha = 1;
      context.fillRect(from, top, 1.5, height);
      const left = Math.max(from, 0) + 5, room = Math.min(to, this.width) - left;
      if (room > 28 && left > labelled) {
        context.save();
        context.beginPath();
        context.rect(left, top, room, height);
        context.clip();
        context.fillStyle = this.paint.text;
        context.fillText(span.text, left, top + height / 2 + .5);
        context.restore();
        labelled = Math.min(to, left + context.measureText(span.text).width);
      }
    }
  }

  // Marks of a kind at one pixel look like one; the worse a thing, the later it is drawn. Commands have their spans.
  #drawEvents(context, events, y) {
    const size = 11, places = new Map();
    for (let i = firstFrom(events, this.timeAt(-size)); i < events.length; i++) {
      const { kind, time } = events[i];
      const x = this.xOf(time);
      if (x > this.width + size) break;
      if (!this.shown[kind.family] || kind.name.startsWith("Command")) continue;
      if (!places.has(kind)) places.set(kind, []);
      if (x - (places.get(kind).at(-1) ?? -Infinity) >= 1) places.get(kind).push(x);
    }
    for (const kind of this.record.kinds.toSorted((a, b) => weightOf(a) - weightOf(b)))
      for (const x of places.get(kind) ?? [])
        drawMark(context, kind.shape, x, y - 4, size, this.paint[families[kind.family].color]);
  }

  #drawLabEvents(context, events, top, bottom) {
    const size = 11;
    let labelled = -Infinity, lined = -Infinity;
    const drawn = new Map();
    for (let i = firstFrom(events, this.timeAt(-200)); i < events.length; i++) {
      const { kind, time, text } = events[i];
      const x = this.xOf(time);
      if (x > this.width + size) break;
      if (!this.shown[kind.family] || Math.abs(x - (drawn.get(kind) ?? -9)) < 1) continue;
      drawn.set(kind, x);
      const paint = this.paint[families[kind.family].color];
      context.fillStyle = paint;
      if (x - lined > 5) {
        context.globalAlpha = .6;
        context.fillRect(Math.round(x), top + bandHeight, 1, bottom - top - bandHeight);
        context.globalAlpha = 1;
        lined = x;
      }
      drawMark(context, kind.shape, x, top + bandHeight / 2 - 1, size, paint);
      if (x + 9 > labelled && this.#roomAfter(events, i) > 46) {
        const label = text.length > 40 ? `${text.slice(0, 39)}…` : text;
        context.save();
        context.beginPath();
        context.rect(x + 9, top, this.#roomAfter(events, i) - 14, bandHeight);
        context.clip();
        context.fillText(label, x + 9, top + bandHeight / 2 - 1);
        context.restore();
        labelled = x + 9 + Math.min(context.measureText(label).width, this.#roomAfter(events, i));
      }
    }
  }

  #roomAfter(events, i) {
    for (let next = i + 1; next < events.length; next++)
      if (this.shown[events[next].kind.family]) return this.xOf(events[next].time) - this.xOf(events[i].time);
    return Infinity;
  }

  // From the moment, in the band where it was taken, down to the branch that began with it.
  #drawOrigin(context, band, scroll) {
    const parent = this.bands.find(other => other.branch.number === band.branch.parent);
    if (!parent || parent === band) return;
    const x = this.xOf(band.branch.start), from = parent.top - scroll + bandHeight / 2, to = band.top - scroll + bandHeight - 1;
    context.strokeStyle = this.paint.moment;
    context.lineWidth = 1.5;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(x, from);
    context.lineTo(x, to);
    context.stroke();
    context.setLineDash([]);
  }

  #drawScale(context, height) {
    const { paint, width, axis } = this;
    context.fillStyle = paint.panel;
    context.fillRect(0, 0, width, scaleHeight);
    context.fillStyle = paint.line;
    context.fillRect(0, scaleHeight - 1, width, 1);
    const { ticks, step } = ticksOf(axis, this.view, width, 95);
    for (const piece of axis.squeezed) this.#drawSqueezed(context, piece, height);
    let labelled = -Infinity;
    for (const time of ticks) {
      const x = this.xOf(time);
      context.fillStyle = paint.line;
      context.fillRect(x, scaleHeight - 6, 1, 6);
      context.globalAlpha = .5;
      context.fillRect(x, scaleHeight, 1, height);
      context.globalAlpha = 1;
      if (x < labelled || this.#isInLabel(x)) continue;
      const label = shortTime(time, step);
      context.fillStyle = paint.muted;
      context.fillText(label, x + 4, scaleHeight / 2);
      labelled = x + context.measureText(label).width + 14;
    }
  }

  #isInLabel(x) { return this.axis.squeezed.some(piece => this.#squeezedFrom(piece) - 60 < x && x < this.#squeezedTo(piece)); }

  #squeezedFrom(piece) { return this.xOf(this.axis.times[piece]); }

  #squeezedTo(piece) { return this.xOf(this.axis.times[piece + 1]); }

  #drawSqueezed(context, piece, height) {
    const from = this.#squeezedFrom(piece), to = this.#squeezedTo(piece);
    if (to < 0 || from > this.width) return;
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, height);
    context.clip();
    context.strokeStyle = this.paint.line;
    context.lineWidth = 1;
    context.beginPath();
    for (let x = Math.max(from, 0) - (Math.max(from, 0) % 7); x < Math.min(to, this.width) + 20; x += 7) {
      context.moveTo(x, 0);
      context.lineTo(x - scaleHeight, scaleHeight);
    }
    context.stroke();
    const left = Math.max(from, 0), right = Math.min(to, this.width);
    const label = `${shortTime(this.axis.times[piece + 1] - this.axis.times[piece], unit.second / 10)} idle`;
    const wide = context.measureText(label).width;
    if (right - left > wide + 8) {
      context.fillStyle = this.paint.panel;
      context.fillRect((left + right - wide) / 2 - 4, 3, wide + 8, scaleHeight - 8);
      context.fillStyle = this.paint.muted;
      context.fillText(label, (left + right - wide) / 2, scaleHeight / 2);
    }
    context.restore();
  }

  #drawCursor(context, cursor, scroll, height) {
    const x = this.xOf(cursor.time);
    const band = this.bands.find(band => band.branch === cursor.branch);
    context.fillStyle = this.paint.cursor;
    context.globalAlpha = .25;
    context.fillRect(x - .5, scaleHeight, 1, height);
    context.globalAlpha = 1;
    const top = Math.max(scaleHeight, band.top - scroll);
    const bottom = band.top - scroll + bandHeight + this.record.machines.length * laneHeight;
    if (bottom > top) context.fillRect(x - .75, top, 1.5, bottom - top);
    drawMark(context, "triangle", x, scaleHeight - 4, -9, this.paint.cursor);
    const label = spoken(cursor.time), wide = context.measureText(label).width;
    const left = Math.min(Math.max(x - wide / 2 - 5, 0), this.width - wide - 10);
    context.fillStyle = this.paint.cursor;
    context.fillRect(left, 3, wide + 10, scaleHeight - 11);
    context.fillStyle = this.paint.ground;
    context.fillText(label, left + 5, scaleHeight / 2 - 2);
  }
}

const weightOf = kind => ["note", "command", "power", "moment", "fault", "failure"].indexOf(families[kind.family].color);

function firstFrom(events, time) {
  let low = 0, high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].time < time) low = middle + 1; else high = middle;
  }
  return low;
}

function firstFromTime(times, time) { return Math.max(0, countUpTo(times, time) - 1); }
