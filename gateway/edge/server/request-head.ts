import type { HttpRequest } from './server.js'

const NO_BODY = new Uint8Array(0)
/** What stands for another character in a query (URL Standard, application/x-www-form-urlencoded), or not for itself. */
const ENCODED = /[%+\ud800-\udfff]/

/** The one implementation of a request; the query is parsed when somebody asks. */
export class OwnedRequest implements HttpRequest {
  body: Uint8Array = NO_BODY
  /** Set by who reads plain requests: asking for it is a system call, and an upgrade's socket knows it too. */
  remoteAddress = ''
  #query: URLSearchParams | undefined
  /** Nothing in the query is encoded. */
  #plain: boolean | undefined

  constructor(
    readonly method: string,
    readonly path: string,
    readonly search: string,
    readonly headers: Readonly<Record<string, string>>,
  ) {}

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.search)
    return this.#query
  }

  parameter(name: string): string | null {
    // As a rule nothing in it is encoded: cut it out, where parsing all of it would be the most of what a connect parses.
    this.#plain ??= !ENCODED.test(this.search)
    return this.#plain ? plainParameter(this.search, name) : this.query.get(name)
  }

  header(name: string): string | undefined {
    return this.headers[name.toLowerCase()]
  }
}

function plainParameter(search: string, name: string): string | null {
  const { length } = search
  // `?` is not the query's, but some hand it over.
  let from = search.charCodeAt(0) === 0x3f ? 1 : 0
  while (from < length) {
    const ampersand = search.indexOf('&', from)
    const end = ampersand < 0 ? length : ampersand
    const behind = from + name.length
    if (search.startsWith(name, from) && behind <= end) {
      if (behind === end) {
        // A name alone is an empty value; nothing between two ampersands is nothing.
        if (name !== '') return ''
      } else if (search.charCodeAt(behind) === 0x3d) return search.slice(behind + 1, end)
    }
    from = end + 1
  }
  return null
}

/** What {@link emptyHeaders} makes: an object that inherits nothing, not even `__proto__`. */
const Bare = function Bare() {} as unknown as new () => Record<string, string>
Bare.prototype = Object.create(null)

/**
 * Headers to be filled with {@link addHeader}: no name is inherited. Unlike `Object.create(null)`, which V8 gives a hash
 * table of half a kilobyte at once, it has as many fields as it has headers.
 */
export function emptyHeaders(): Record<string, string> {
  return new Bare()
}

/** Adds a header the way HTTP joins repeated ones (RFC 9110 section 5.3). `headers` is {@link emptyHeaders}' kind. */
export function addHeader(headers: Record<string, string>, name: string, value: string): void {
  const before = headers[name]
  headers[name] = before === undefined ? value : `${before}, ${value}`
}

/** The usual form of an address: an IPv4 one that arrived over IPv6 (RFC 4291 section 2.5.5.2) as IPv4. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}
