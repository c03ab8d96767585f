/**
 * Workers by Consul: the instances of a service whose checks pass, by blocking queries
 * (`/v1/health/service/NAME`, https://developer.hashicorp.com/consul/api-docs/features/blocking).
 *
 * The rules for X-Consul-Index: ask with the last one; begin anew when it goes backwards or is not above 0; never ask
 * faster than a pace, whatever the index does.
 */

import { readList, readObject } from '../../../proto/fields.js'
import { withDeadline } from './deadline.js'
import {
  type DiscoveredMember,
  type Discovery,
  MAX_MEMBERS,
  type OnMembers,
  readMember,
  type SourceContext,
  tidyMembers,
} from './discovery.js'
import { readJson, send } from './http-json.js'
import { SourceLoop } from './source-loop.js'

/** Which service, and where. */
export interface ConsulOptions {
  /** Base URL of an agent, `http://HOST:8500`. */
  readonly url: string
  readonly service: string
  /** Datacenter; the agent's own unless given. */
  readonly datacenter?: string
  /** Only instances with this tag. */
  readonly tag?: string
  /** ACL token, sent as X-Consul-Token. */
  readonly token?: string
  /** For instances whose metadata names no pool. */
  readonly pool?: string
  /** Links are `tls://`, where the metadata has no link. */
  readonly tls?: boolean
  /** How long the agent may hold a question, in milliseconds; 55,000 unless given. */
  readonly waitMs?: number
}

const WAIT_MS = 55_000
/** An agent adds up to a sixteenth of the wait; and a network takes its time. */
const LATE_MS = 5000
/** Least time between two questions, in milliseconds: after news, and after an answer that came early without any. */
const NEWS_MS = 100
const PACE_MS = 1000

/** Follows one service. */
export class ConsulDiscovery implements Discovery {
  readonly name: string
  readonly #options: ConsulOptions
  readonly #context: SourceContext
  readonly #loop: SourceLoop
  #onMembers: OnMembers = () => {}
  #index = 0
  #last = ''

  constructor(options: ConsulOptions, context: SourceContext) {
    this.name = `consul:${options.service}`
    this.#options = options
    this.#context = context
    this.#loop = new SourceLoop(this.name, context, (signal) => this.#ask(signal))
  }

  get problem(): string | undefined {
    return this.#loop.problem
  }

  start(onMembers: OnMembers): void {
    this.#onMembers = onMembers
    this.#loop.start()
  }

  close(): Promise<void> {
    this.#onMembers = () => {}
    return this.#loop.close()
  }

  async #ask(signal: AbortSignal): Promise<number> {
    const { clock } = this.#context
    const { waitMs = WAIT_MS } = this.#options
    const askedAt = clock.now()
    const asked = this.#index
    // Until there is a good answer: after a failure the state is asked for as it is, not for news.
    this.#index = 0
    const { index, instances } = await withDeadline(clock, signal, waitMs * (17 / 16) + LATE_MS, (inner) =>
      this.#query(asked, waitMs, inner),
    )
    this.#tell(instances)
    this.#index = nextIndex(asked, index)
    const took = clock.now() - askedAt
    return Math.max(0, (this.#index > asked ? NEWS_MS : PACE_MS) - took)
  }

  async #query(index: number, waitMs: number, signal: AbortSignal): Promise<{ index: string; instances: unknown }> {
    const { url, service, datacenter, tag, token } = this.#options
    const query = new URLSearchParams({ passing: '1' })
    if (datacenter !== undefined) query.set('dc', datacenter)
    if (tag !== undefined) query.set('tag', tag)
    if (index > 0) {
      query.set('index', String(index))
      query.set('wait', `${waitMs}ms`)
    }
    const response = await send({
      ...(this.#context.fetch === undefined ? {} : { fetch: this.#context.fetch }),
      url: `${url.replace(/\/+$/, '')}/v1/health/service/${encodeURIComponent(service)}?${query}`,
      headers: token === undefined ? {} : { 'x-consul-token': token },
      signal,
    })
    return { index: response.headers.get('x-consul-index') ?? '', instances: await readJson(response) }
  }

  #tell(instances: unknown): void {
    const members: DiscoveredMember[] = []
    const problems: string[] = []
    for (const instance of readList(instances, 'the answer', MAX_MEMBERS * 10)) {
      try {
        members.push(this.#member(instance))
      } catch (error) {
        problems.push(`${serviceId(instance)}: ${(error as Error).message}`)
      }
    }
    const tidy = tidyMembers(members, this.name, this.#context.log)
    const text = JSON.stringify([tidy, problems])
    if (text === this.#last) return
    this.#last = text
    if (problems.length > 0) {
      const fields = { source: this.name, problems: problems.slice(0, 10), count: problems.length }
      this.#context.log.warn(fields, `${this.name} lists instances that cannot be used; they are left out`)
    }
    this.#onMembers(tidy)
  }

  #member(instance: unknown): DiscoveredMember {
    const { Service, Node } = readObject(instance, 'instance')
    const service = readObject(Service, 'Service')
    const meta = readObject(service.Meta ?? {}, 'Service.Meta')
    const weights = readObject(service.Weights ?? {}, 'Service.Weights')
    const host = text(service.Address) ?? text(readObject(Node ?? {}, 'Node').Address)
    const { pool, tls = false } = this.#options
    return readMember({
      link: meta.link ?? (host === undefined ? undefined : link(host, service.Port, tls)),
      pool: meta.pool ?? pool,
      weight: meta.weight ?? weightOf(weights.Passing),
      priority: meta.priority,
    })
  }
}

/** What to ask with next; 0 asks without. */
function nextIndex(asked: number, answered: string): number {
  const index = /^\d{1,15}$/.test(answered) ? Number(answered) : 0
  return index < asked ? 0 : index
}

/** Consul's own weights have no upper end. */
function weightOf(passing: unknown): number | undefined {
  return typeof passing === 'number' ? Math.min(1000, passing) : undefined
}

function link(host: string, port: unknown, tls: boolean): string {
  return `${tls ? 'tls' : 'tcp'}://${host.includes(':') ? `[${host}]` : host}:${String(port)}`
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function serviceId(instance: unknown): string {
  const { Service } = (instance ?? {}) as { Service?: { ID?: unknown } | null }
  return String(Service?.ID ?? 'an instance').slice(0, 100)
}
