/** Everything that `sluice up` runs on one machine: which roles, with which arguments, in which order. */

import { join } from 'node:path'
import { createAdminClient } from './admin-client.js'
import { CliError } from './cli-error.js'
import { type PortUse, requireFreePorts } from './listen-guard.js'
import { SUPERVISED } from './role-process.js'
import { type ReadyInfo, type RoleEvents, type RoleSpec, SupervisedRole } from './supervised-role.js'

/** What `up` was asked for. Ports are bases: instance i of a role listens on base + i; 0 takes any free one. */
export interface FleetOptions {
  readonly gateways: number
  readonly workers: number
  readonly devices: number
  readonly handler: string
  readonly host: string
  readonly coordinatorPort: number
  readonly gatewayPort: number
  readonly mqttPort: number
  readonly linkPort: number
  readonly routes?: string
  readonly config?: string
  /** Directory of everything that is kept; each role has its own below. */
  readonly data: string
  readonly token?: string
  readonly insecure: boolean
  /** What the roles log; their own default unless given. */
  readonly logLevel?: string
  /** Flags handed on as they are, by role. */
  readonly extra: Readonly<Record<'coordinator' | 'gateway' | 'worker' | 'device', readonly string[]>>
}

/** The line that `up --json` prints. */
export interface FleetAddresses {
  coordinator: string
  coordinatorPid: number
  gateways: { id: string; pid: number; http: string; ws: string; mqtt: string }[]
  workers: { id: string; pid: number; pool: string; link: string }[]
}

/** The parts of `GET /v1/status` that `up` waits for and shows. */
export interface FleetStatus {
  version: number
  gateways: { id: string; sessions: number; tableVersion: number; state: string }[]
  workers: { id: string; pool: string; sessions: number; state: string }[]
}

/** How long `up` waits until all gateways serve a table with all workers, in milliseconds. */
const READY_LIMIT_MS = 20_000
const POLL_MS = 25

/** How long the simulated devices may delay readiness while they connect, in milliseconds: many take longer. */
const DEVICES_LIMIT_MS = 3000

interface WorkerRole {
  readonly pool: string
  readonly role: SupervisedRole
}

/** The roles of one `up`, and the only place that starts or ends them. */
export class Fleet {
  readonly #options: FleetOptions
  readonly #script: string
  readonly #events: RoleEvents
  #coordinator: SupervisedRole | undefined
  readonly #gateways: SupervisedRole[] = []
  readonly #workers: WorkerRole[] = []
  readonly #retiring = new Set<SupervisedRole>()
  #devices: SupervisedRole | undefined
  #workersEver = 0
  #stopped = false

  constructor(options: FleetOptions, script: string, events: RoleEvents) {
    this.#options = options
    this.#script = script
    this.#events = events
  }

  /**
   * Starts everything and resolves when it accepts traffic.
   * @throws CliError naming the role at fault; whatever had started still has to be stopped
   */
  async start(): Promise<FleetAddresses> {
    const options = this.#options
    await requireFreePorts(options.host, plannedPorts(options))
    this.#refuseWhenStopped()
    this.#coordinator = this.#role(this.#coordinatorSpec())
    const { url } = (await this.#coordinator.start()) as ReadyInfo & { url: string }
    const pools = await poolsOf(url, options.token)
    this.#refuseWhenStopped()
    for (let i = 0; i < options.gateways; i++) this.#gateways.push(this.#role(this.#gatewaySpec(i)))
    // Every pool gets a worker, then they take turns: --workers counts all of them.
    for (let i = 0; i < options.workers; i++) this.#addWorker(pools[i % pools.length] ?? 'default')
    await Promise.all([...this.#gateways, ...this.#workers.map(({ role }) => role)].map((role) => role.start()))
    await this.#untilServing()
    this.#refuseWhenStopped()
    if (options.devices > 0) {
      this.#devices = this.#role(this.#deviceSpec())
      await within(DEVICES_LIMIT_MS, this.#devices.start())
    }
    return this.addresses()
  }

  /** Where everything is now. */
  addresses(): FleetAddresses {
    return {
      coordinator: this.url,
      coordinatorPid: this.#coordinator?.ready?.pid ?? 0,
      gateways: this.#gateways.map((role) =>
        pick(role, ['id', 'pid', 'http', 'ws', 'mqtt']),
      ) as FleetAddresses['gateways'],
      workers: this.#workers.map(({ role }) => pick(role, ['id', 'pid', 'pool', 'link'])) as FleetAddresses['workers'],
    }
  }

  /** The coordinator's base URL. */
  get url(): string {
    return String(this.#coordinator?.ready?.url ?? '')
  }

  status(timeoutMs = 2000): Promise<FleetStatus> {
    const { token } = this.#options
    const client = createAdminClient({ coordinator: this.url, timeoutMs, ...(token === undefined ? {} : { token }) })
    return client.get('/v1/status') as Promise<FleetStatus>
  }

  /**
   * Brings a pool to this many workers: starts new ones, or drains the youngest and lets them end.
   * Resolves when the new ones are registered and the drains have begun.
   */
  async scale(
    pool: string,
    workers: number,
  ): Promise<{ pool: string; workers: number; started: string[]; draining: string[] }> {
    this.#refuseWhenStopped()
    const present = this.#workers.filter((worker) => worker.pool === pool)
    const surplus = present.slice(workers)
    for (const worker of surplus) this.#retire(worker)
    const added = Array.from({ length: Math.max(0, workers - present.length) }, () => this.#addWorker(pool))
    await Promise.all(added.map((role) => role.start({ quietly: true })))
    const names = (roles: readonly SupervisedRole[]) => roles.map((role) => role.name)
    return { pool, workers, started: names(added), draining: names(surplus.map(({ role }) => role)) }
  }

  /** Ends everything within `limitMs`; no process is left afterwards. */
  async stop(limitMs: number): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#roles().map((role) => role.stop(limitMs)))
  }

  /** Ends everything this instant. {@link Fleet.stop} tells when it is done. */
  kill(): void {
    this.#stopped = true
    for (const role of this.#roles()) role.kill()
  }

  #roles(): SupervisedRole[] {
    const roles = [this.#devices, ...this.#gateways, ...this.#workers.map(({ role }) => role), ...this.#retiring]
    return [...roles, this.#coordinator].filter((role) => role !== undefined)
  }

  #refuseWhenStopped(): void {
    if (this.#stopped) throw new CliError('everything is being stopped')
  }

  #role(spec: RoleSpec): SupervisedRole {
    return new SupervisedRole(spec, this.#script, this.#events)
  }

  #addWorker(pool: string): SupervisedRole {
    const role = this.#role(this.#workerSpec(this.#workersEver++, pool))
    this.#workers.push({ pool, role })
    return role
  }

  #retire(worker: WorkerRole): void {
    this.#workers.splice(this.#workers.indexOf(worker), 1)
    this.#retiring.add(worker.role)
    void worker.role.retire().then(() => {
      this.#retiring.delete(worker.role)
      this.#events.left(worker.role.name)
    })
  }

  /** Every gateway has a table with every worker and a link to each. */
  async #untilServing(): Promise<void> {
    const until = Date.now() + READY_LIMIT_MS
    const count = this.#workers.length
    for (;;) {
      this.#refuseWhenStopped()
      const status = await this.status()
      const waiting = notServing(status, this.#gateways.length, count) ?? (await this.#unreadyGateway())
      if (waiting === undefined) return
      if (Date.now() > until) throw new CliError(`not everything became ready: ${waiting}`)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  async #unreadyGateway(): Promise<string | undefined> {
    for (const { name, ready } of this.#gateways) {
      const answer = await fetch(`${ready?.http}/readyz`, { signal: AbortSignal.timeout(2000) })
      if (!answer.ok) return `${name}: ${(await answer.text()).slice(0, 200)}`
      await answer.body?.cancel()
    }
    return undefined
  }

  #configFlag(): string[] {
    return this.#options.config === undefined ? [] : ['--config', this.#options.config]
  }

  #common(id: string): string[] {
    const { host, data, insecure } = this.#options
    return [...['--host', host, '--data', join(data, id)], ...(insecure ? ['--insecure'] : []), ...this.#configFlag()]
  }

  #env(): Record<string, string> {
    const { token, logLevel: level } = this.#options
    // By environment: arguments are readable by every user of the machine.
    return {
      [SUPERVISED]: '1',
      ...(token === undefined ? {} : { SLUICE_TOKEN: token }),
      ...(level === undefined ? {} : { SLUICE_LOG: level }),
    }
  }

  #coordinatorSpec(): RoleSpec {
    const { coordinatorPort, routes, extra } = this.#options
    return {
      name: 'coordinator',
      env: this.#env(),
      args: (last) => [
        ...['coordinator', '--port', portOf(last?.url, coordinatorPort)],
        ...this.#common('coordinator'),
        // A restarted coordinator goes on with what was applied since, not with the file it began with.
        ...(routes === undefined || last !== undefined ? [] : ['--routes', routes]),
        ...extra.coordinator,
      ],
    }
  }

  #gatewaySpec(index: number): RoleSpec {
    const { gatewayPort, mqttPort, extra } = this.#options
    const id = `gateway-${index + 1}`
    return {
      name: id,
      env: this.#env(),
      args: (last) => [
        ...['gateway', '--id', id, '--coordinator', this.url],
        ...['--port', portOf(last?.http, gatewayPort, index), '--mqtt-port', portOf(last?.mqtt, mqttPort, index)],
        ...this.#common(id),
        ...extra.gateway,
      ],
    }
  }

  #workerSpec(index: number, pool: string): RoleSpec {
    const { handler, linkPort, host, insecure, extra } = this.#options
    const id = `worker-${index + 1}`
    return {
      name: id,
      env: this.#env(),
      args: (last) => [
        ...['worker', handler, '--id', id, '--pool', pool, '--coordinator', this.url],
        ...['--host', host, '--port', portOf(last?.link, linkPort, index)],
        ...(insecure ? ['--insecure'] : []),
        ...this.#configFlag(),
        ...extra.worker,
      ],
    }
  }

  #deviceSpec(): RoleSpec {
    const { devices, extra } = this.#options
    const bootstrap = () => this.#gateways.map((role) => String(role.ready?.http)).join(',')
    return {
      name: 'devices',
      env: this.#env(),
      args: () => [
        'device',
        '--count',
        String(devices),
        '--bootstrap',
        bootstrap(),
        ...this.#configFlag(),
        ...extra.device,
      ],
    }
  }
}

/** What is still missing in the coordinator's eyes before every gateway knows every worker; undefined when nothing is. */
function notServing(
  { gateways, workers, version }: FleetStatus,
  gatewayCount: number,
  workerCount: number,
): string | undefined {
  const usable = workers.filter(({ state }) => state === 'up')
  if (usable.length < workerCount) return `${usable.length} of ${workerCount} workers are up`
  if (gateways.length < gatewayCount) return `${gateways.length} of ${gatewayCount} gateways are registered`
  const behind = gateways.find((gateway) => gateway.tableVersion !== version)
  return behind && `${behind.id} serves table ${behind.tableVersion}, not ${version}`
}

/** Resolves with `work`, or when the time is up. */
async function within(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs)
  })
  await Promise.race([work, limit]).finally(() => clearTimeout(timer))
}

function plannedPorts(options: FleetOptions): PortUse[] {
  const each = (count: number, base: number, who: (n: number) => string, flag: string): PortUse[] =>
    Array.from({ length: base === 0 ? 0 : count }, (_, i) => ({ port: base + i, who: who(i + 1), flag }))
  return [
    ...each(1, options.coordinatorPort, () => 'the coordinator', '--coordinator-port'),
    ...each(options.gateways, options.gatewayPort, (n) => `gateway-${n} (HTTP and WebSocket)`, '--gateway-port'),
    ...each(options.gateways, options.mqttPort, (n) => `gateway-${n} (MQTT)`, '--mqtt-port'),
    ...each(options.workers, options.linkPort, (n) => `the link of worker-${n}`, '--link-port'),
  ]
}

/** The port in a URL that a role reported earlier; base + index before that, and 0 for a base of 0. */
function portOf(url: unknown, base: number, index = 0): string {
  const known = typeof url === 'string' ? /:(\d+)(?:\/|$)/.exec(url.replace(/^[a-z]+:\/\//, ''))?.[1] : undefined
  return known ?? String(base === 0 ? 0 : base + index)
}

function pick(role: SupervisedRole, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.map((key) => [key, role.ready?.[key]]))
}

async function poolsOf(url: string, token: string | undefined): Promise<string[]> {
  const client = createAdminClient({ coordinator: url, ...(token === undefined ? {} : { token }) })
  const { pools } = (await client.get('/v1/routes')) as { pools: Record<string, unknown> }
  return Object.keys(pools)
}
