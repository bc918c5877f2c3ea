/** A plain-text table. Long cells are wrapped at blanks, short of that anywhere; "\n" starts a new line in a cell. */

/** Return the text of a table. `widths` are in characters, one for each column. */
export function table(head, rows, widths) {
  const rule = widths.map((width) => "-".repeat(width)).join("-+-");
  return [render(head, widths), rule, ...rows.flatMap((row) => [render(row, widths), rule])].join("\n");
}

function render(cells, widths) {
  const columns = cells.map((cell, index) => cell.split("\n").flatMap((line) => wrap(line, widths[index])));
  const height = Math.max(...columns.map((lines) => lines.length));
  return Array.from({ length: height }, (_, row) =>
    columns.map((lines, index) => (lines[row] ?? "").padEnd(widths[index])).join(" | ").trimEnd(),
  ).join("\n");
}

function wrap(text, width) {
  const lines = [];
  for (let rest = text; rest.length > 0; ) {
    const blank = rest.length > width ? rest.lastIndexOf(" ", width) : rest.length;
    const end = blank > 0 ? blank : width;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return lines;
}
