/** Log lines of the roles, as `up` shows them. */

/** Fields of a log record that say nothing new beside the role's name. */
const KNOWN = new Set(['level', 'time', 'msg', 'name', 'pid', 'hostname', 'gateway', 'worker'])
const LEVELS: Readonly<Record<number, string>> = { 40: 'warning: ', 50: 'error: ', 60: 'error: ' }

/** A JSON log record as `warning: message, field value`; any other line as it is. */
export function renderLogLine(line: string): string {
  const record = parseRecord(line)
  if (record === undefined) return line
  const { worker } = record
  const fields = Object.entries(record).filter(([key]) => !KNOWN.has(key))
  const shown = [...(worker === undefined ? [] : [['worker', worker] as const]), ...fields]
  const details = shown.map(([key, value]) => `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  return `${LEVELS[Number(record.level)] ?? ''}${record.msg}${details.length > 0 ? ` (${details.join(', ')})` : ''}`
}

function parseRecord(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const record = JSON.parse(line)
    return typeof record?.msg === 'string' && typeof record.level === 'number' ? record : undefined
  } catch {
    return undefined
  }
}
