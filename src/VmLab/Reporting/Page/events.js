// The list of events: only the rows in sight are in the page, so that a hundred thousand cost no more than fifty.

const rowHeight = 22;

class EventList {
  constructor(record, list, onChoose) {
    Object.assign(this, { record, list, onChoose });
    this.rows = list.firstElementChild;
    this.marks = new Map();
    this.filter("", families.map(() => true));
    list.addEventListener("scroll", () => this.draw());
    list.addEventListener("keydown", event => this.#key(event));
  }

  /** Keeps the events that have every word in their text or their machine's name, and whose family is shown. */
  filter(text, shown) {
    const words = text.toLowerCase().split(/\s+/).filter(word => word);
    this.events = this.record.events.filter(event => this.record.branches.has(event.branch) && shown[event.kind.family]
      && words.every(word => `${this.nameOf(event)} ${event.text}`.toLowerCase().includes(word)));
    this.rows.style.height = `${this.events.length * rowHeight}px`;
    this.draw();
  }

  nameOf(event) { return event.machine < 0 ? "lab" : this.record.machines[event.machine].name; }

  /** Marks where the cursor is, and scrolls there. */
  follow(cursor) {
    this.cursor = cursor;
    this.chosen = cursor.event ?? this.#lastBefore(cursor);
    const at = this.events.indexOf(this.chosen);
    const top = at * rowHeight, { scrollTop, clientHeight } = this.list;
    if (at >= 0 && (top < scrollTop || top + rowHeight > scrollTop + clientHeight))
      this.list.scrollTop = top - clientHeight / 2;
    this.draw();
  }

  /** The event, of those kept, that many places from the chosen one. */
  step(count) {
    const at = this.events.indexOf(this.chosen);
    return this.events[Math.min(Math.max(at + count, 0), this.events.length - 1)];
  }

  draw() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / rowHeight) - 5);
    const last = Math.min(this.events.length, first + Math.ceil((this.list.clientHeight || 600) / rowHeight) + 10);
    const rows = [];
    for (let i = first; i < last; i++) rows.push(this.#row(this.events[i], i));
    this.rows.replaceChildren(...rows);
    this.list.setAttribute("aria-activedescendant", this.chosen ? `event-${this.chosen.index}` : "");
  }

  #row(event, place) {
    const row = document.createElement("div");
    row.id = `event-${event.index}`;
    row.style.top = `${place * rowHeight}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-posinset", place + 1);
    row.setAttribute("aria-setsize", this.events.length);
    row.setAttribute("aria-selected", event === this.chosen);
    row.className = event === this.chosen ? "chosen" : this.#isLater(event) ? "later" : "";
    row.dataset.kind = event.kind.name;
    row.title = event.text;
    const mark = document.createElement("canvas");
    drawMark(fresh(mark, 14, 14), event.kind.shape, 7, 7, 10, color(families[event.kind.family].color));
    row.append(mark, element("time", spoken(event.time)), element("b", this.nameOf(event)), element("span", event.text));
    if (this.record.branches.size > 1) row.append(element("small", `#${event.branch}`));
    row.addEventListener("click", () => this.onChoose(event));
    return row;
  }

  #isLater(event) {
    return this.cursor && (event.branch > this.cursor.branch.number || event.branch === this.cursor.branch.number && event.time > this.cursor.time);
  }

  #lastBefore(cursor) {
    let last;
    for (const event of this.events)
      if (event.branch === cursor.branch.number && event.time <= cursor.time && !(last?.time > event.time)) last = event;
    return last;
  }

  #key(event) {
    const page = Math.floor(this.list.clientHeight / rowHeight) - 1;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || this.events.length === 0) return;
    event.preventDefault();
    this.onChoose(this.step(steps[event.key]));
  }
}

function element(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}
