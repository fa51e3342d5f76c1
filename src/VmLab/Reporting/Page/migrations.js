// How each migration went: a bar a round, as wide as it took and as high as what it sent, and a curve through what was dirtied meanwhile.

const vector = document.querySelector("#migrations svg").namespaceURI;

const chart = { width: 640, height: 130, left: 44, bottom: 18, top: 6 };

/** Fills the section; hides it where no machine was migrated. */
function fillMigrations(migrations, section) {
  section.hidden = migrations.length === 0;
  for (const migration of migrations) {
    const figure = document.createElement("figure");
    figure.dataset.machine = migration.machine;
    const how = `${migration.machine}: ${migration.from} → ${migration.to}, ${migration.mode}, ${migration.outcome}`;
    const took = `${milliseconds(migration.total)} in all, ${milliseconds(migration.downtime)} of downtime`;
    figure.append(element("figcaption", `${how}: ${took}${migration.reason ? ` (${migration.reason})` : ""}`), chartOf(migration));
    section.append(figure);
  }
}

const milliseconds = time => `${(time / unit.millisecond).toFixed(1)} ms`;

function chartOf(migration) {
  const { width, height, left, bottom, top } = chart;
  const most = Math.max(1, ...migration.rounds.flatMap(round => [round.pages, round.dirtied]));
  const xOf = time => left + time / Math.max(1, migration.total) * (width - left - 2);
  // By the logarithm: the first round sends thousands of pages, the last one some.
  const yOf = pages => height - bottom - Math.log1p(pages) / Math.log1p(most) * (height - bottom - top);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  for (const round of migration.rounds) {
    const bar = drawn("rect", {
      x: xOf(round.start), y: yOf(round.pages), class: "sent",
      width: Math.max(1, xOf(round.start + round.time) - xOf(round.start) - 1), height: height - bottom - yOf(round.pages),
    });
    const slowed = round.throttle ? `, processor slowed by ${round.throttle} %` : "";
    bar.append(drawn("title", {}, `${milliseconds(round.time)}: ${round.pages} pages sent, ${round.dirtied} dirtied${slowed}`));
    svg.append(bar);
  }
  const points = migration.rounds.map(round => `${xOf(round.start + round.time)},${yOf(round.dirtied)}`);
  svg.append(drawn("polyline", { points: points.join(" "), class: "dirtied" }));
  for (const pages of new Set([0, Math.round(Math.expm1(Math.log1p(most) / 2)), most]))
    svg.append(drawn("text", { x: left - 5, y: yOf(pages) + 4, "text-anchor": "end" }, `${pages}`));
  svg.append(drawn("text", { x: left, y: height - 4 }, "0 ms"));
  svg.append(drawn("text", { x: width - 2, y: height - 4, "text-anchor": "end" }, milliseconds(migration.total)));
  return svg;
}

function drawn(name, attributes, text = "") {
  const node = document.createElementNS(vector, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}
