/** Whose request it is: the peer's own address, or the one that a trusted proxy names. */

import { BlockList, isIP } from 'node:net'
import { SluiceError } from '../../proto/errors.js'

/** A list of proxies has at most so many hops that are looked at. */
const MAX_HOPS = 32

/**
 * Addresses of proxies whose `X-Forwarded-For` is believed.
 * @param list addresses and CIDR blocks: `10.0.0.0/8`, `fd00::/8`, `192.0.2.7`
 * @throws SluiceError `bad_request` naming the entry that is none
 */
export function trustedProxies(list: readonly string[]): BlockList {
  const proxies = new BlockList()
  for (const entry of list) {
    const [address = '', prefix, more] = entry.trim().split('/')
    const family = isIP(address)
    const bits = prefix === undefined ? (family === 4 ? 32 : 128) : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1
    if (family === 0 || more !== undefined || bits < 0 || bits > (family === 4 ? 32 : 128)) {
      const problem = `${JSON.stringify(entry)} is no address or CIDR block such as 10.0.0.0/8`
      throw new SluiceError('bad_request', `--trusted-proxy: ${problem}`, { path: '--trusted-proxy' })
    }
    proxies.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
  }
  return proxies
}

/**
 * Walks `X-Forwarded-For` from its end, as far as the hops are trusted proxies: what stands before that is anybody's word.
 * @param remote the peer of the connection
 */
export function callerAddress(remote: string, forwardedFor: string | undefined, proxies: BlockList): string {
  let address = plain(remote)
  const hops = (forwardedFor ?? '').split(',').slice(-MAX_HOPS)
  while (isTrusted(address, proxies)) {
    const hop = hops.pop()
    const next = hop === undefined ? '' : plain(hop.trim())
    if (isIP(next) === 0) break
    address = next
  }
  return address
}

function isTrusted(address: string, proxies: BlockList): boolean {
  const family = isIP(address)
  return family !== 0 && proxies.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

/** Without port, brackets, zone, and the IPv6 form of an IPv4 address (RFC 4291 section 2.5.5.2). */
function plain(text: string): string {
  const bare = /^\[([^\]]*)\](:\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text
  const unzoned = bare.split('%', 1)[0] as string
  return unzoned.toLowerCase().startsWith('::ffff:') && unzoned.includes('.') ? unzoned.slice(7) : unzoned
}
