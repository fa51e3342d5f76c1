// Every machine's console as it was at the cursor.

class Consoles {
  constructor(record, place) {
    this.record = record;
    this.panels = record.machines.map((machine, i) => {
      const panel = document.createElement("article"), title = document.createElement("h3"), screen = document.createElement("pre");
      const state = document.createElement("small");
      panel.dataset.machine = machine.name;
      screen.tabIndex = 0;
      screen.setAttribute("aria-label", `Console of ${machine.name}`);
      title.append(machine.name, state);
      panel.append(title, screen);
      place.append(panel);
      return { machine: i, screen, state, shown: null };
    });
  }

  show(cursor) {
    for (const panel of this.panels) {
      const text = screenOf(consoleText(this.record, cursor.branch, panel.machine, cursor.time));
      const phase = phaseAt(this.record, cursor.branch, panel.machine, cursor.time);
      panel.state.textContent = phase === "off" ? "off" : `${phase}, ${loadAt(cursor.branch, panel.machine, cursor.time)} % busy`;
      if (text === panel.shown) continue;
      panel.shown = text;
      panel.screen.textContent = text || "(nothing printed yet)";
      panel.screen.classList.toggle("empty", !text);
      panel.screen.scrollTop = panel.screen.scrollHeight;
    }
  }
}

/** The end of a console's text as a terminal shows it: no escape sequences, and a line that "\r" began anew only as it ended. */
function screenOf(text) {
  const mostCharacters = 1 << 17;
  return text.slice(-mostCharacters).replaceAll(/\r*\n/g, "\n")
    .replaceAll(/\x1b(\[[0-?]*[ -/]*[@-~]|[^[]|$)/g, "").replaceAll(/[^\n]*\r(?=[^\n])/g, "")
    .replaceAll(/[^\n\t -\u{10ffff}]/gu, "");
}
