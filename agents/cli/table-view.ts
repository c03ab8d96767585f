/** Plain tables for terminals: aligned columns, cut so that a line never passes the width. */

/** One column. */
export interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => string | number | undefined
  /** Numbers read better against the right edge. */
  readonly align?: 'left' | 'right'
  /** May be shortened with an ellipsis when the line is too long; the first such column gives way first. */
  readonly flexible?: boolean
}

const GAP = '  '
const MIN_FLEXIBLE = 8

/**
 * Renders rows under a line of titles.
 * @param width longest line in characters; 80 where output is not a terminal
 */
export function renderTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[], width = 80): string {
  const cells = rows.map((row) => columns.map((column) => printable(column.value(row))))
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...cells.map((line) => (line[i] ?? '').length)),
  )
  shrink(widths, columns, width)
  const line = (values: readonly string[]) =>
    columns
      .map((column, i) => pad(values[i] ?? '', widths[i] ?? 0, column.align ?? 'left'))
      .join(GAP)
      .trimEnd()
      .slice(0, width)
  return [line(columns.map((column) => column.title)), ...cells.map(line)].join('\n')
}

function shrink<Row>(widths: number[], columns: readonly Column<Row>[], width: number): void {
  let over = widths.reduce((sum, w) => sum + w, 0) + GAP.length * (columns.length - 1) - width
  for (let i = 0; i < columns.length && over > 0; i++) {
    if (!columns[i]?.flexible) continue
    const now = widths[i] ?? 0
    const next = Math.max(Math.min(now, MIN_FLEXIBLE), now - over)
    over -= now - next
    widths[i] = next
  }
}

function pad(text: string, width: number, align: 'left' | 'right'): string {
  const cut = text.length > width ? `${text.slice(0, Math.max(0, width - 1))}…` : text
  return align === 'right' ? cut.padStart(width) : cut.padEnd(width)
}

/** A value without control characters: what a device or an operator named must not be able to drive the terminal. */
export function printable(value: string | number | undefined): string {
  if (value === undefined) return '-'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed here
  return String(value).replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}

/** A span of milliseconds in the largest unit that keeps two digits: `350 ms`, `12 s`, `4 min`, `3 h`, `9 d`. */
export function renderSpan(ms: number): string {
  if (!Number.isFinite(ms)) return '-'
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} d`
}
