// Formats rows as columns, for terminals.

import { visible } from '../base/visible.js';

/** Cells are padded to the widest of their column. A cell is on one line, whatever is in it. */
export function columns(cells: readonly (readonly string[])[]): string {
  const rows = cells.map(row => row.map(visible));
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)));
  return rows
    .map(row =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
