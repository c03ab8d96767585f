/** Standard output of the commands that ask and answer. */

/** Prints `value` as JSON when the user asked for it, else the text that `view` makes of it. */
export function print<Value>(json: boolean, value: Value, view: (value: Value) => string): void {
  process.stdout.write(`${json ? JSON.stringify(value) : view(value)}\n`)
}

/** Columns that a table may take: the terminal's, 80 in a pipe, never under 40. */
export function outputWidth(): number {
  return Math.max(40, process.stdout.isTTY ? (process.stdout.columns ?? 80) : 80)
}
