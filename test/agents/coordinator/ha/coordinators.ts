/** Several coordinators as processes of their own on a real nats-server, and a writer that never stops, for tests. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { NatsServer } from '../../../gateway/fanout/nats-server.js'
import type { FakePeer } from '../fake-fleet.js'

const SLUICE = fileURLToPath(new URL('../../../../agents/cli/main.js', import.meta.url))

/** What `GET /v1/coordinators` answers. */
export interface Description {
  id: string
  url: string
  role: 'leader' | 'follower'
  leader: { url: string; epoch: number } | null
  leaderSeems: string
  store: 'up' | 'away'
  revision: number
}

/** One coordinator. */
export class CoordinatorProcess {
  readonly id: string
  readonly #nats: string
  #child: ChildProcess | undefined
  #port = 0

  constructor(id: string, nats: string) {
    this.id = id
    this.#nats = nats
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Resolves when it is ready; a second start takes the same port. */
  async start(): Promise<void> {
    const args = ['coordinator', '--port', String(this.#port), '--nats', this.#nats, '--id', this.id, '--json']
    const child = spawn(process.execPath, [SLUICE, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    let errors = ''
    child.stderr.on('data', (text) => {
      errors = (errors + text).slice(-4000)
    })
    const [line] = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`${this.id} ended with ${code}: ${errors}`))),
    ])
    this.#port = Number(new URL((JSON.parse(line) as { url: string }).url).port)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  async describe(): Promise<Description> {
    const response = await fetch(`${this.url}/v1/coordinators`, { signal: AbortSignal.timeout(1000) })
    return (await response.json()) as Description
  }
}

/** A worker or gateway as a process of its own, which is told of these coordinators. Resolves when it is ready. */
export async function startRole(among: readonly CoordinatorProcess[], ...args: string[]): Promise<ChildProcess> {
  const urls = among.map(({ url }) => url).join(',')
  const child = spawn(process.execPath, [SLUICE, ...args, '--coordinator', urls, '--json'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`${args[0]} ended with ${code}`))),
  ])
  return child
}

/** Starts so many at once. */
export async function startCoordinators(nats: NatsServer, count: number): Promise<CoordinatorProcess[]> {
  const coordinators = Array.from({ length: count }, (_, i) => new CoordinatorProcess(`coordinator-${i + 1}`, nats.url))
  await Promise.all(coordinators.map((coordinator) => coordinator.start()))
  return coordinators
}

/** Looks every 20 ms until there is something. */
export async function until<T>(look: () => Promise<T | undefined>, what: string, limitMs = 10_000): Promise<T> {
  const limit = performance.now() + limitMs
  for (;;) {
    const found = await look().catch(() => undefined)
    if (found !== undefined) return found
    if (performance.now() > limit) throw new Error(`waited ${limitMs} ms in vain for ${what}`)
    await delay(20)
  }
}

/** The one that says that it leads. */
export function leaderOf(among: readonly CoordinatorProcess[]): Promise<CoordinatorProcess> {
  return until(async () => {
    for (const coordinator of among) {
      const role = await coordinator.describe().then(
        (description) => description.role,
        () => undefined,
      )
      if (role === 'leader') return coordinator
    }
    return undefined
  }, 'a leader')
}

/** Resolves when all of them know the newest state. */
export function inStep(among: readonly CoordinatorProcess[]): Promise<true> {
  return until(async () => {
    const [first, ...others] = await Promise.all(among.map((coordinator) => coordinator.describe()))
    return others.every(({ revision }) => revision === first?.revision) ? true : undefined
  }, 'all of them to have the same state')
}

/** A gateway or worker that connects again, to the next of several coordinators, whenever its connection ends. */
export class Returning<P extends FakePeer> {
  current: P
  readonly #make: (turn: number) => P
  #turn = 0
  #over = false

  constructor(make: (turn: number) => P) {
    this.#make = make
    this.current = this.#connect()
  }

  end(): void {
    this.#over = true
    this.current.kill()
  }

  #connect(): P {
    const peer = this.#make(this.#turn++)
    void peer.closed.then(async () => {
      await delay(50)
      if (!this.#over) this.current = this.#connect()
    })
    return peer
  }
}

/** One answer of the routes API. */
export interface WriteAnswer {
  readonly status: number
  readonly retryAfter: string | null
  readonly version: number
}

/** Puts routes in force that differ from all others by `name`, which is also the message in the history. */
export async function putRoutes(url: string, name: string, timeoutMs = 4000): Promise<WriteAnswer> {
  const pools = { default: { policy: 'consistent_hash' } }
  const response = await fetch(`${url}/v1/routes?message=${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ pools, routes: [{ name, to: [{ pool: 'default' }] }] }),
    signal: AbortSignal.timeout(timeoutMs),
  })
  const { version = 0 } = (await response.json()) as { version?: number }
  return { status: response.status, retryAfter: response.headers.get('retry-after'), version }
}

/** Messages of the history, oldest first. */
export async function history(url: string): Promise<{ version: number; message?: string }[]> {
  const response = await fetch(`${url}/v1/routes/history`, { signal: AbortSignal.timeout(4000) })
  return ((await response.json()) as { versions: { version: number; message?: string }[] }).versions
}

/** Writes one change after the other, to any coordinator that takes it, and remembers what was acknowledged. */
export class Writer {
  readonly acknowledged: { name: string; version: number; at: number }[] = []
  readonly #coordinators: readonly CoordinatorProcess[]
  readonly #done: Promise<void>
  #stopped = false
  #next = 0

  constructor(coordinators: readonly CoordinatorProcess[]) {
    this.#coordinators = coordinators
    this.#done = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#stopped; i++) {
      const { url } = this.#coordinators[i % this.#coordinators.length] as CoordinatorProcess
      const name = `write-${this.#next++}`
      const answer = await putRoutes(url, name, 1500).catch(() => undefined)
      if (answer?.status === 200) this.acknowledged.push({ name, version: answer.version, at: performance.now() })
      await delay(15)
    }
  }
}

/**
 * Kills the leader and waits until a write is acknowledged again.
 * @returns milliseconds from the kill to the end of that write
 */
export async function killLeader(
  coordinators: readonly CoordinatorProcess[],
  writer: Writer,
): Promise<{ killed: CoordinatorProcess; tookMs: number }> {
  const killed = await leaderOf(coordinators)
  const at = performance.now()
  killed.signal('SIGKILL')
  const first = await until(async () => writer.acknowledged.find((write) => write.at > at), 'an acknowledged write')
  await killed.kill()
  return { killed, tookMs: first.at - at }
}

/** Acknowledged writes since `from` that the history does not have; the history holds the newest 200. */
export async function lostWrites(url: string, writer: Writer, from: number): Promise<string[]> {
  const writes = writer.acknowledged.slice(from)
  const known = new Map((await history(url)).map(({ message, version }) => [message, version]))
  return writes.filter(({ name, version }) => known.get(name) !== version).map(({ name }) => name)
}
