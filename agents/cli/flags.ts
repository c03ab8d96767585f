/** Flags that several commands share, and how their values are read. */

import { type Command, InvalidArgumentError, Option } from 'commander'

/** Reads a whole number within bounds; the error names both. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`A whole number from ${min} to ${max} is needed.`)
    }
    return value
  }
}

/** A TCP port; 0 takes any free one. */
export const port = integer(0, 65535)

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Reads a time with its unit, such as `90s`, `30m`, `24h` or `7d`, from 1 s to ten years. @returns milliseconds */
export function time(text: string): number {
  const [, count, unit = ''] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text.trim()) ?? []
  const ms = Number(count) * (UNITS[unit] ?? Number.NaN)
  if (ms >= 1000 && ms <= 3650 * 86_400_000) return ms
  throw new InvalidArgumentError('A time of 1 s or more is needed, with its unit: 90s, 30m, 24h or 7d.')
}

/** Reads `LAT,LON` in degrees. */
export function location(text: string): { lat: number; lon: number } {
  const [lat, lon, more] = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
  if (
    lat === undefined ||
    lon === undefined ||
    more !== undefined ||
    !(Math.abs(lat) <= 90) ||
    !(Math.abs(lon) <= 180)
  ) {
    throw new InvalidArgumentError('Write it as LATITUDE,LONGITUDE in degrees, for example 52.52,13.40.')
  }
  return { lat, lon }
}

/** `--geo-database` and `--trusted-proxy`: how a role that answers `/v1/nearest` knows where its callers are. */
export function withPlaceFlags(command: Command): Command {
  return command
    .option('--geo-database <file>', 'MaxMind database that gives callers of /v1/nearest their coordinates')
    .option('--trusted-proxy <cidrs>', 'proxies whose X-Forwarded-For is believed; commas between them', (text) =>
      text.split(',').map((entry) => entry.trim()),
    )
}

/** `--coordinator URL`, `--token` and `--json`: what every command has that talks to a coordinator. */
export function withAdminFlags(command: Command): Command {
  return command
    .addOption(coordinatorFlag())
    .addOption(tokenFlag('bearer token of the admin API'))
    .option('--json', 'print JSON instead of a table', false)
}

export function coordinatorFlag(): Option {
  return new Option('--coordinator <url>', 'where the coordinator is; of several, all of them with commas between')
    .env('SLUICE_COORDINATOR')
    .default('http://127.0.0.1:7000')
}

export function tokenFlag(what: string): Option {
  return new Option('--token <secret>', what).env('SLUICE_TOKEN')
}

/** `--max-table-age`: of the table on disk, for a gateway that starts while its coordinator is away. */
export function tableAgeFlag(): Option {
  const what = 'age from which a start refuses the table on disk, such as 24h or 7d; any age is taken unless given'
  return new Option('--max-table-age <time>', what).argParser(time)
}

/** `--log-level`: what a role logs, as JSON lines on standard error. */
export function logFlag(): Option {
  return new Option('--log-level <level>', 'least that is logged')
    .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .env('SLUICE_LOG')
    .default('warn')
}

/** `--host` and `--insecure`: the two that decide who can reach a role. */
export function withListenFlags(command: Command): Command {
  return command
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--insecure', 'listen beyond this machine although nothing is authenticated', false)
}
