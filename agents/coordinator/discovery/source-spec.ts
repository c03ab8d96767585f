/**
 * Reads what people write after `--discover`, and makes the source of it:
 *
 *     static:LINK[?pool=P&weight=W][,LINK…]
 *     dns:NAME:PORT[?pool=P&weight=W&server=IP:PORT&tls=true]
 *     srv:NAME[?pool=P&server=IP:PORT&tls=true]
 *     consul:URL/SERVICE[?dc=D&tag=T&pool=P&tls=true]
 *     etcd:URL[,URL…]/PREFIX[?pool=P]
 */

import { isIP } from 'node:net'
import { SluiceError } from '../../../proto/errors.js'
import { ConsulDiscovery } from './consul.js'
import { type Discovery, memberProblem, readMember, type SourceContext } from './discovery.js'
import { DnsDiscovery } from './dns.js'
import { EtcdDiscovery } from './etcd.js'
import { StaticDiscovery } from './static-list.js'

/** Secrets of the sources; they do not belong on a command line. */
export interface SourceSecrets {
  /** ACL token. */
  readonly consulToken?: string
  /** `NAME:PASSWORD`. */
  readonly etcdUser?: string
}

/** @throws SluiceError `bad_request` naming what is wrong with the text, and how it should be */
export function createSource(text: string, context: SourceContext, secrets: SourceSecrets = {}): Discovery {
  const colon = text.indexOf(':')
  const kind = text.slice(0, Math.max(0, colon))
  const rest = text.slice(colon + 1)
  const create = Object.hasOwn(KINDS, kind) ? KINDS[kind as keyof typeof KINDS] : undefined
  if (create === undefined) throw wrong(text, 'it has to begin with static:, dns:, srv:, consul: or etcd:')
  if (rest === '') throw wrong(text, `nothing follows ${kind}:`)
  return create(new SpecText(text, rest), context, secrets)
}

const KINDS = {
  static(spec: SpecText) {
    return new StaticDiscovery(spec.rest.split(',').map((entry) => staticMember(spec, entry.trim())))
  },
  dns(spec: SpecText, context: SourceContext) {
    const [where, query] = spec.split(['pool', 'weight', 'server', 'tls'])
    const match = /^([^\s:/]+):(\d{1,5})$/.exec(where)
    if (match === null) throw spec.wrong('it is dns:NAME:PORT')
    const port = Number(match[2])
    const weight = query.number('weight')
    spec.check({ link: `tcp://${match[1]}:${port}`, ...query.pool, ...(weight === undefined ? {} : { weight }) })
    return new DnsDiscovery(
      { name: match[1] as string, port, ...query.pool, ...query.dns, ...(weight === undefined ? {} : { weight }) },
      context,
    )
  },
  srv(spec: SpecText, context: SourceContext) {
    const [name, query] = spec.split(['pool', 'server', 'tls'])
    if (!/^[^\s:/]+$/.test(name)) throw spec.wrong('it is srv:_SERVICE._tcp.NAME')
    spec.check({ link: 'tcp://any:1', ...query.pool })
    return new DnsDiscovery({ name, ...query.pool, ...query.dns }, context)
  },
  consul(spec: SpecText, context: SourceContext, { consulToken }: SourceSecrets) {
    const [where, query] = spec.split(['dc', 'tag', 'pool', 'tls'])
    const [url, service] = spec.url(where, 'consul:http://HOST:8500/SERVICE')
    spec.check({ link: 'tcp://any:1', ...query.pool })
    const { dc, tag } = query.values
    return new ConsulDiscovery(
      {
        url,
        service: decodeURIComponent(service),
        tls: query.tls,
        ...query.pool,
        ...(dc === undefined ? {} : { datacenter: dc }),
        ...(tag === undefined ? {} : { tag }),
        ...(consulToken === undefined ? {} : { token: consulToken }),
      },
      context,
    )
  },
  etcd(spec: SpecText, context: SourceContext, { etcdUser }: SourceSecrets) {
    const [where, query] = spec.split(['pool'])
    const servers = where.split(',')
    const last = /^(https?:\/\/[^/]+)\/(.+)$/.exec(servers.pop() ?? '')
    if (last === null) throw spec.wrong('it is etcd:http://HOST:2379/PREFIX')
    const urls = [...servers, last[1] as string]
    for (const url of urls) if (!isHttp(url)) throw spec.wrong(`${JSON.stringify(url)} is not http://HOST:PORT`)
    if (etcdUser !== undefined && !etcdUser.includes(':')) throw spec.wrong('the etcd user is not NAME:PASSWORD')
    spec.check({ link: 'tcp://any:1', ...query.pool })
    // As etcdctl has it, and as people write keys: with a slash in front.
    const prefix = `/${last[2]}`
    return new EtcdDiscovery(
      { urls, prefix, ...query.pool, ...(etcdUser === undefined ? {} : { user: etcdUser }) },
      context,
    )
  },
} as const satisfies Record<string, (spec: SpecText, context: SourceContext, secrets: SourceSecrets) => Discovery>

function staticMember(spec: SpecText, entry: string) {
  const mark = entry.indexOf('?')
  const link = mark < 0 ? entry : entry.slice(0, mark)
  const values = new Query(spec, mark < 0 ? '' : entry.slice(mark + 1), ['pool', 'weight', 'priority']).values
  try {
    return readMember({ ...values, link })
  } catch (error) {
    throw spec.wrong(`${entry === '' ? 'an entry' : entry}: ${(error as Error).message}`)
  }
}

/** A text with the errors that belong to it. */
class SpecText {
  readonly rest: string
  readonly #text: string

  constructor(text: string, rest: string) {
    this.#text = text
    this.rest = rest
  }

  /** What comes before the question mark, and what behind it. */
  split(known: readonly string[]): [string, Query] {
    const mark = this.rest.indexOf('?')
    if (mark < 0) return [this.rest, new Query(this, '', known)]
    return [this.rest.slice(0, mark), new Query(this, this.rest.slice(mark + 1), known)]
  }

  /** A base URL and the last part of its path. */
  url(text: string, form: string): [string, string] {
    const slash = text.lastIndexOf('/')
    const [base, name] = [text.slice(0, Math.max(0, slash)), text.slice(slash + 1)]
    if (!isHttp(base) || name === '') throw this.wrong(`it is ${form}`)
    return [base, name]
  }

  check(member: Parameters<typeof memberProblem>[0]): void {
    const problem = memberProblem(member)
    if (problem !== undefined) throw this.wrong(problem)
  }

  wrong(what: string): SluiceError {
    return wrong(this.#text, what)
  }
}

/** What stands behind the question mark. */
class Query {
  readonly values: Readonly<Record<string, string>>
  readonly #spec: SpecText

  constructor(spec: SpecText, text: string, known: readonly string[]) {
    this.#spec = spec
    this.values = Object.fromEntries(new URLSearchParams(text))
    for (const name of Object.keys(this.values)) {
      if (!known.includes(name))
        throw spec.wrong(`there is no ${JSON.stringify(name)}; known here: ${known.join(', ')}`)
    }
  }

  get pool(): { pool?: string } {
    return this.values.pool === undefined ? {} : { pool: this.values.pool }
  }

  get tls(): boolean {
    const { tls = 'false' } = this.values
    if (tls !== 'true' && tls !== 'false') throw this.#spec.wrong('tls is true or false')
    return tls === 'true'
  }

  get dns(): { tls: boolean; servers?: string[] } {
    const { server } = this.values
    if (server === undefined) return { tls: this.tls }
    const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(server)
    if (match === null || isIP(match[1] ?? match[2] ?? '') === 0)
      throw this.#spec.wrong(`server ${JSON.stringify(server)} is not IP or IP:PORT`)
    return { tls: this.tls, servers: [server] }
  }

  number(name: string): number | undefined {
    const text = this.values[name]
    if (text === undefined) return undefined
    const value = text.trim() === '' ? Number.NaN : Number(text)
    if (!Number.isFinite(value)) throw this.#spec.wrong(`${name} is not a number`)
    return value
  }
}

function isHttp(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, username, password } = new URL(text)
  return (protocol === 'http:' || protocol === 'https:') && username === '' && password === ''
}

function wrong(text: string, what: string): SluiceError {
  // Somebody may have written a password into a URL.
  const shown = text.replace(/\/\/[^/@\s]*@/g, '//…@').slice(0, 300)
  return new SluiceError('bad_request', `--discover ${shown}: ${what}`, { path: 'discover' })
}
