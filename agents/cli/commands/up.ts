/** `sluice up`: the whole of Sluice on one machine, each role its own process. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { MAX_THREADS } from '../../../proto/table.js'
import { CliError, describeError } from '../cli-error.js'
import { withConfigFlag } from '../config-flag.js'
import { integer, logFlag, port, tableAgeFlag, tokenFlag, withListenFlags } from '../flags.js'
import { Fleet, type FleetOptions } from '../fleet.js'
import { requireAuthBeyondLoopback } from '../listen-guard.js'
import { renderLogLine } from '../log-line.js'
import type { RoleEvents } from '../supervised-role.js'
import { renderAddresses, renderStatusLine, UpScreen } from '../up-screen.js'

interface UpFlags extends Omit<FleetOptions, 'data' | 'extra'> {
  readonly data?: string
  readonly json: boolean
  readonly threads: number
  readonly rate?: number
  readonly nats?: string
  readonly maxTableAge?: number
  readonly movesPerSecond?: number
  readonly movesInFlight?: number
}

/** Longest wait for the roles to end, in milliseconds; the promise to the user is 5 s. */
const STOP_LIMIT_MS = 3500
const STATUS_EVERY_MS = 1000

/** @param script the JavaScript file that the child processes run: the command line itself */
export function upCommand(script: string): Command {
  const command = new Command('up')
    .description('run everything on this machine: a coordinator, gateways, workers, simulated devices')
    .option('--gateways <n>', 'number of gateways', integer(1, 64), 2)
    .option('--threads <n>', 'cores that each gateway runs on', integer(1, MAX_THREADS), 1)
    .option('--workers <n>', 'number of workers over all pools', integer(0, 256), 3)
    .option('--devices <n>', 'simulated devices, half WebSocket, half MQTT', integer(0, 100_000), 40)
    .option('--rate <n>', 'messages that each simulated device sends in a second, 1 unless given', Number)
    .option('--handler <handler>', 'echo, or the path of a worker file (.ts or .js)', 'echo')
    .option('--coordinator-port <port>', 'HTTP port of the coordinator', port, 7000)
    .option('--gateway-port <port>', 'HTTP and WebSocket port of the first gateway', port, 8080)
    .option('--mqtt-port <port>', 'MQTT port of the first gateway', port, 1883)
    .option('--link-port <port>', 'link port of the first worker', port, 9000)
    .option('--routes <file>', 'routes file, YAML or JSON')
    .option('--data <dir>', 'directory for what must survive a restart (a temporary one unless given)')
    .addOption(tableAgeFlag())
    .option('--nats <url>', "NATS servers with JetStream, for the coordinator's state and fan-out between gateways")
    .option('--moves-per-second <n>', 'sessions that may move in a second', integer(1, 1_000_000))
    .option('--moves-in-flight <n>', 'sessions that may be on the move at once', integer(1, 1_000_000))
    .addOption(tokenFlag('secret that roles and admin calls must present'))
    .addOption(logFlag())
    .option('--json', 'print one line of JSON when everything accepts traffic, and nothing else', false)
  return withConfigFlag(withListenFlags(command)).action((flags: UpFlags) => up(flags, script))
}

async function up(flags: UpFlags, script: string): Promise<void> {
  requireAuthBeyondLoopback('up', flags)
  const temporary = flags.data === undefined ? await mkdtemp(join(tmpdir(), 'sluice-')) : undefined
  const options = fleetOptions(flags, temporary ?? resolve(flags.data as string))
  const run = new UpRun(options, script, flags.json)
  try {
    await run.untilStopped()
  } finally {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
  }
}

function fleetOptions(flags: UpFlags, data: string): FleetOptions {
  const { json: _json, threads, rate, nats, maxTableAge, movesPerSecond, movesInFlight, ...rest } = flags
  const given = (flag: string, value: number | string | undefined) => (value === undefined ? [] : [flag, String(value)])
  const file = (path: string) => resolve(path)
  return {
    ...rest,
    data,
    handler: flags.handler === 'echo' ? 'echo' : file(flags.handler),
    ...(flags.routes === undefined ? {} : { routes: file(flags.routes) }),
    ...(flags.config === undefined ? {} : { config: file(flags.config) }),
    extra: {
      coordinator: [
        ...given('--nats', nats),
        ...given('--moves-per-second', movesPerSecond),
        ...given('--moves-in-flight', movesInFlight),
      ],
      gateway: [
        ...given('--nats', nats),
        ...given('--max-table-age', maxTableAge === undefined ? undefined : `${maxTableAge}ms`),
        ...(threads === 1 ? [] : ['--threads', String(threads)]),
      ],
      worker: [],
      device: given('--rate', rate),
    },
  }
}

/** One `up`, from start to Ctrl-C. */
class UpRun {
  readonly #options: FleetOptions
  readonly #json: boolean
  readonly #fleet: Fleet
  readonly #screen: UpScreen
  #messages: { at: number; count: number; perSecond: number | undefined } = { at: 0, count: 0, perSecond: undefined }
  #stopping = false
  #hurried = false

  constructor(options: FleetOptions, script: string, json: boolean) {
    this.#options = options
    this.#json = json
    // With --json the one line is all that standard output may carry.
    this.#screen = new UpScreen(json ? process.stderr : process.stdout, !json)
    this.#fleet = new Fleet(options, script, this.#events())
  }

  /** Runs until a signal, then ends everything. Ends everything too when the start fails. */
  async untilStopped(): Promise<void> {
    const signal = new Promise<'signal'>((stop) => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
        process.on(name, () => this.#onSignal(name, () => stop('signal')))
    })
    const started = Date.now()
    const starting = this.#fleet.start()
    try {
      const addresses = await Promise.race([starting, signal])
      if (addresses !== 'signal') {
        if (this.#json) process.stdout.write(`${JSON.stringify(addresses)}\n`)
        else this.#screen.print(renderAddresses(addresses, this.#options, Date.now() - started))
        const live = this.#screen.live ? setInterval(() => void this.#refresh(), STATUS_EVERY_MS) : undefined
        await signal
        clearInterval(live)
      }
    } finally {
      starting.catch(() => {})
      this.#stopping = true
      this.#screen.end()
      await this.#fleet.stop(STOP_LIMIT_MS)
    }
    if (this.#hurried) throw new CliError('what had not ended was killed')
  }

  #onSignal(name: NodeJS.Signals, stop: () => void): void {
    // Whoever asks twice does not want to wait.
    if (this.#stopping) {
      this.#hurried = true
      this.#fleet.kill()
      return
    }
    this.#stopping = true
    // The terminal is gone after SIGHUP: a word to it would end this process before the others.
    if (name === 'SIGHUP') this.#screen.close()
    this.#screen.end()
    if (!this.#json) this.#screen.print('stopping …')
    stop()
  }

  #events(): RoleEvents {
    const say = (text: string) => this.#stopping || this.#screen.print(text)
    return {
      // While everything ends, links break and connections close: nothing that anybody has to know.
      log: (name, line) => this.#stopping || this.#log(name, line),
      died: (name, how) => say(`${name} died (${how}); it starts again in a second`),
      back: (name, ready) => say(`${name} is back, pid ${ready.pid}`),
      left: (name) => say(`${name} has handed over its work and ended`),
      stats: (_name, stats) => this.#onStats(stats),
      ask: (_name, what, body) => this.#answer(what, body),
    }
  }

  #log(name: string, line: string): void {
    if (this.#json) process.stderr.write(`${name} | ${line}\n`)
    else this.#screen.print(`${name} | ${renderLogLine(line)}`)
  }

  async #answer(what: string, body: unknown): Promise<unknown> {
    if (what !== 'scale') throw new CliError(`unknown question ${what}`)
    const { pool, workers } = body as { pool: string; workers: number }
    return this.#fleet.scale(pool, workers)
  }

  #onStats(stats: Record<string, number>): void {
    const now = Date.now()
    const count = (stats.sent ?? 0) + (stats.answered ?? 0)
    const { at, count: before } = this.#messages
    const perSecond = at === 0 ? undefined : ((count - before) * 1000) / Math.max(1, now - at)
    this.#messages = { at: now, count, perSecond }
  }

  async #refresh(): Promise<void> {
    const line = await this.#fleet.status().then(
      (status) => renderStatusLine(status, this.#messages.perSecond, this.#screen.width),
      (error: unknown) => describeError(error).split('\n')[0] ?? '',
    )
    if (!this.#stopping) this.#screen.status(line)
  }
}
