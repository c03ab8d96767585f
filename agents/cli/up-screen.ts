/** What `sluice up` shows: where everything listens, one live line, and what happens meanwhile. */

import type { FleetAddresses, FleetOptions, FleetStatus } from './fleet.js'
import { isLoopback } from './listen-guard.js'

/** Where the screen writes; a terminal gets the live line, a pipe does not. */
export interface ScreenOutput {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** The start-up text of `up`. */
export function renderAddresses(addresses: FleetAddresses, options: FleetOptions, tookMs: number): string {
  const row = (name: string, text: string) => `  ${name.padEnd(12)} ${text}`
  const gateways = addresses.gateways.flatMap((gateway) => [
    row(gateway.id, `${gateway.ws}?device=ID`),
    row('', `${gateway.mqtt}   ${gateway.ws.replace(/\/v1\/connect$/, '/mqtt')}`),
  ])
  const open =
    options.token === undefined
      ? isLoopback(options.host)
        ? 'this machine only, no authentication'
        : 'NO AUTHENTICATION'
      : 'token required'
  return [
    `Sluice is up (${(tookMs / 1000).toFixed(1)} s; ${open})`,
    '',
    row('coordinator', addresses.coordinator),
    ...gateways,
    ...addresses.workers.map((worker) => row(worker.id, `${worker.link}   pool ${worker.pool}, ${options.handler}`)),
    ...(options.devices > 0 ? [row('devices', `${options.devices} simulated, half WebSocket, half MQTT`)] : []),
    '',
    ...(addresses.coordinator === 'http://127.0.0.1:7000'
      ? []
      : [`In another terminal, first:  export SLUICE_COORDINATOR=${addresses.coordinator}`]),
    'Try in another terminal:  npx sluice status    npx sluice top',
    `                          npx sluice scale ${addresses.workers[0]?.pool ?? 'default'} ${addresses.workers.length + 1}`,
    'Ctrl-C stops all of it.',
    '',
  ].join('\n')
}

/** The live line: `40 devices  gateways 20+20  workers 13+13+14  1.2 k msg/s  table 7`. */
export function renderStatusLine(status: FleetStatus, messagesPerSecond: number | undefined, width: number): string {
  const sessions = (of: readonly { sessions: number }[]) =>
    of.length > 8 ? spread(of) : of.map((one) => one.sessions).join('+')
  const total = status.gateways.reduce((sum, gateway) => sum + gateway.sessions, 0)
  const parts = [
    `${total} devices`,
    `gateways ${sessions(status.gateways)}`,
    `workers ${sessions(status.workers)}`,
    ...(messagesPerSecond === undefined ? [] : [`${rounded(messagesPerSecond)} msg/s`]),
    `table ${status.version}`,
  ]
  return parts.join('   ').slice(0, width)
}

function spread(of: readonly { sessions: number }[]): string {
  const counts = of.map((one) => one.sessions)
  return `${of.length} x ${Math.min(...counts)} to ${Math.max(...counts)}`
}

function rounded(value: number): string {
  return value < 1000 ? String(Math.round(value)) : `${(value / 1000).toFixed(1)} k`
}

/** Keeps one line at the bottom of a terminal while other lines scroll above it. */
export class UpScreen {
  readonly #out: ScreenOutput
  readonly #live: boolean
  #line = ''
  #closed = false

  /** @param live false: {@link UpScreen.status} does nothing */
  constructor(out: ScreenOutput, live: boolean) {
    this.#out = out
    this.#live = live && out.isTTY === true
  }

  get live(): boolean {
    return this.#live
  }

  get width(): number {
    return (this.#out.columns ?? 80) - 1
  }

  /** A line that stays. */
  print(text: string): void {
    this.#write(`${this.#clear()}${text}\n${this.#line}`)
  }

  /** Replaces the live line. */
  status(line: string): void {
    if (!this.#live) return
    const clear = this.#clear()
    this.#line = line
    this.#write(clear + line)
  }

  /** Removes the live line. */
  end(): void {
    const clear = this.#clear()
    this.#line = ''
    this.#write(clear)
  }

  /** Writes nothing from now on. */
  close(): void {
    this.#closed = true
  }

  #write(text: string): void {
    if (!this.#closed && text !== '') this.#out.write(text)
  }

  #clear(): string {
    return this.#line === '' ? '' : '\r\u001b[2K'
  }
}
