/**
 * Workers by DNS: the addresses of a name, or the targets of its SRV records [RFC 2782]. Asked again when the answer's
 * time to live is over: the least of all records that it was made from. Node's resolver tells no TTL for SRV records,
 * so those are asked for by dns-client.ts.
 */

import { Resolver } from 'node:dns/promises'
import { isIPv6 } from 'node:net'
import { type DiscoveredMember, type Discovery, type OnMembers, type SourceContext, tidyMembers } from './discovery.js'
import { askSrv } from './dns-client.js'
import { SourceLoop } from './source-loop.js'

/** What is asked, and what is made of the answer. */
export interface DnsOptions {
  readonly name: string
  /** Port of the workers, for addresses; undefined asks for SRV records, which have their own. */
  readonly port?: number
  /** `IP` or `IP:PORT` of the servers to ask; those of the machine unless given. */
  readonly servers?: readonly string[]
  /** For all members. */
  readonly pool?: string
  /** For all members of an address name. SRV records have their own. */
  readonly weight?: number
  /** Links are `tls://`. */
  readonly tls?: boolean
}

/** Bounds of the time between two questions, in milliseconds: a TTL of 0 is no reason to ask all the time. */
const LEAST_MS = 1000
const MOST_MS = 300_000
/** How long an answer without any record holds where it does not say, in seconds. */
const NOTHING_S = 5
/** Of one try with one server, in milliseconds. */
const TRY_MS = 2000
/** Most SRV targets whose addresses are asked for at once. */
const PARALLEL = 16
/** SRV weights go to 65,535, those of workers to 1000. */
const MOST_WEIGHT = 1000

/** An address and how long it holds, in seconds. */
interface Address {
  readonly address: string
  readonly ttl: number
}

/** What of the resolver is used. */
export type DnsResolver = Pick<Resolver, 'setServers' | 'getServers' | 'resolve4' | 'resolve6' | 'cancel'>

/** Asks by TTL. A name without records is an empty list; a server that fails is a source that is away. */
export class DnsDiscovery implements Discovery {
  readonly name: string
  readonly #options: DnsOptions
  readonly #context: SourceContext
  readonly #resolver: DnsResolver
  readonly #loop: SourceLoop
  #onMembers: OnMembers = () => {}
  #last = ''

  constructor(
    options: DnsOptions,
    context: SourceContext,
    resolver: DnsResolver = new Resolver({ timeout: TRY_MS, tries: 2 }),
  ) {
    this.name = `${options.port === undefined ? 'srv' : 'dns'}:${options.name}`
    this.#options = options
    this.#context = context
    this.#resolver = resolver
    if (options.servers !== undefined) resolver.setServers(options.servers)
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
    this.#resolver.cancel()
    return this.#loop.close()
  }

  async #ask(signal: AbortSignal): Promise<number> {
    const { name, port } = this.#options
    const { members, ttl } = port === undefined ? await this.#services(signal) : await this.#addressesOf(name, port, {})
    const tidy = tidyMembers(members, this.name, this.#context.log)
    const text = JSON.stringify(tidy)
    if (text !== this.#last) {
      this.#last = text
      this.#onMembers(tidy)
    }
    return Math.min(MOST_MS, Math.max(LEAST_MS, ttl * 1000))
  }

  async #addressesOf(
    name: string,
    port: number,
    more: Pick<DiscoveredMember, 'weight' | 'priority'>,
  ): Promise<{ members: DiscoveredMember[]; ttl: number }> {
    const found = await Promise.all([
      orNothing<Address>(this.#resolver.resolve4(name, { ttl: true })),
      orNothing<Address>(this.#resolver.resolve6(name, { ttl: true })),
    ])
    const { pool, weight, tls = false } = this.#options
    const rest = { ...(weight === undefined ? {} : { weight }), ...(pool === undefined ? {} : { pool }), ...more }
    const addresses = found.flat()
    return {
      members: addresses.map(({ address }) => ({ link: linkOf(address, port, tls), ...rest })),
      ttl: addresses.length === 0 ? NOTHING_S : Math.min(...addresses.map(({ ttl }) => ttl)),
    }
  }

  async #services(signal: AbortSignal): Promise<{ members: DiscoveredMember[]; ttl: number }> {
    const { name } = this.#options
    const { records, ttl: first } = await askSrv(name, this.#resolver.getServers(), TRY_MS, this.#context.clock, signal)
    // A target of "." says: the service is decidedly not there [RFC 2782]. What is no host name has no address.
    const targets = records.filter(({ name }) => /^[\w.-]+$/.test(name))
    const heaviest = Math.max(...targets.map(({ weight }) => weight))
    const weightOf = (weight: number): number => {
      // All 0 means: no difference. One 0 among others: no sessions, as long as the others are there.
      if (heaviest === 0) return 1
      return heaviest <= MOST_WEIGHT ? weight : (weight * MOST_WEIGHT) / heaviest
    }
    const members: DiscoveredMember[] = []
    let ttl = first ?? NOTHING_S
    for (let i = 0; i < targets.length; i += PARALLEL) {
      const found = await Promise.all(
        targets
          .slice(i, i + PARALLEL)
          .map(({ name, port, priority, weight }) =>
            this.#addressesOf(name, port, { priority, weight: weightOf(weight) }),
          ),
      )
      for (const target of found) {
        members.push(...target.members)
        ttl = Math.min(ttl, target.ttl)
      }
    }
    return { members, ttl }
  }
}

/** "There is no such name" and "there is no such record" are answers. */
async function orNothing<T>(question: Promise<T[]>): Promise<T[]> {
  return question.catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOTFOUND' || error.code === 'ENODATA') return []
    throw error
  })
}

function linkOf(address: string, port: number, tls: boolean): string {
  return `${tls ? 'tls' : 'tcp'}://${isIPv6(address) ? `[${address}]` : address}:${port}`
}
