/**
 * What a follower hands on to the leader: requests as they are, and control connections spliced byte by byte, so that
 * gateways and workers can connect to any coordinator.
 */

import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Duplex } from 'node:stream'

/** Names the coordinator that handed a request on; nobody hands on a second time. */
export const FORWARDED_HEADER = 'x-sluice-forwarded'
/** Of one connection only [RFC 9110 section 7.6.1]. */
const HOP_HEADERS = new Set(['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'])

/** Ends of what is under way. */
interface Tunnel {
  readonly client: Duplex
  readonly leader: Duplex
}

/** Hands on to one leader at a time. */
export class Forwarding {
  readonly #self: string
  #leader: URL | undefined
  readonly #requests = new Set<ClientRequest>()
  readonly #tunnels = new Set<Tunnel>()

  /** @param self name of this coordinator */
  constructor(self: string) {
    this.#self = self
  }

  /** True when there is a leader that answers. */
  get reachable(): boolean {
    return this.#leader !== undefined
  }

  /** Requests go there from now on; undefined: nobody answers, and those under way end. */
  to(url: string | undefined): void {
    const leader = url === undefined ? undefined : new URL(url)
    if (leader?.href === this.#leader?.href) return
    this.#leader = leader
    for (const request of this.#requests) request.destroy(new Error('the leader does not answer'))
  }

  /** Another one leads: those who were connected through here come again. */
  dropTunnels(): void {
    for (const { client, leader } of this.#tunnels) {
      client.destroy()
      leader.destroy()
    }
  }

  /**
   * Hands a request on.
   * @returns false when the leader said nothing: the response is still untouched
   */
  forward(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    return new Promise((resolve) => {
      const upstream = this.#request(request)
      if (upstream === undefined) return resolve(false)
      upstream.on('response', (answer) => {
        response.writeHead(answer.statusCode ?? 502, withoutHops(answer.headers))
        answer.pipe(response)
        answer.on('error', () => response.destroy())
        resolve(true)
      })
      upstream.on('error', () => {
        if (response.headersSent) response.destroy()
        resolve(response.headersSent)
      })
      response.on('close', () => upstream.destroy())
      request.on('error', () => upstream.destroy())
      request.pipe(upstream)
    })
  }

  /** Hands an upgrade on, and then every byte of its connection. @param failed answers when the leader does not */
  tunnel(request: IncomingMessage, client: Duplex, head: Buffer, failed: () => void): void {
    const upstream = this.#request(request, { connection: 'Upgrade', upgrade: request.headers.upgrade })
    if (upstream === undefined) {
      failed()
      return
    }
    const abandoned = (): void => void upstream.destroy()
    client.on('close', abandoned)
    upstream.on('upgrade', (answer: IncomingMessage, leader: Duplex, early: Buffer) => {
      client.off('close', abandoned)
      client.write(headOf(answer))
      client.write(early)
      leader.write(head)
      this.#splice({ client, leader })
    })
    upstream.on('response', (answer) => {
      client.write(headOf(answer, { connection: 'close' }))
      answer.pipe(client)
    })
    upstream.on('error', () => {
      client.off('close', abandoned)
      if (!client.destroyed) failed()
    })
    upstream.end()
  }

  close(): void {
    this.to(undefined)
    this.dropTunnels()
  }

  #splice(tunnel: Tunnel): void {
    const { client, leader } = tunnel
    this.#tunnels.add(tunnel)
    for (const [from, to] of [
      [client, leader],
      [leader, client],
    ] as const) {
      if ('setNoDelay' in from) (from as Duplex & { setNoDelay(on: boolean): void }).setNoDelay(true)
      from.on('error', () => from.destroy())
      from.on('close', () => {
        this.#tunnels.delete(tunnel)
        to.destroy()
      })
      from.pipe(to)
    }
  }

  #request(request: IncomingMessage, more: Record<string, string | undefined> = {}): ClientRequest | undefined {
    const leader = this.#leader
    if (leader === undefined) return undefined
    const url = new URL(request.url ?? '/', leader)
    // A target such as //host would lead elsewhere.
    if (url.host !== leader.host) return undefined
    const address = request.socket.remoteAddress
    const who = request.headers['x-sluice-user'] ?? address
    const via = [request.headers['x-forwarded-for'], address].flat().filter((one) => one !== undefined)
    const headers = {
      ...withoutHops(request.headers),
      ...(who === undefined ? {} : { 'x-sluice-user': who }),
      'x-forwarded-for': via.join(', '),
      ...more,
      [FORWARDED_HEADER]: this.#self,
    }
    const open = url.protocol === 'https:' ? httpsRequest : httpRequest
    const upstream = open(url, { method: request.method ?? 'GET', headers, agent: false })
    this.#requests.add(upstream)
    upstream.on('close', () => this.#requests.delete(upstream))
    // A connection that is spliced is no request any more.
    upstream.on('upgrade', () => this.#requests.delete(upstream))
    return upstream
  }
}

function withoutHops(headers: IncomingMessage['headers']): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string | string[]] => {
      return entry[1] !== undefined && !HOP_HEADERS.has(entry[0])
    }),
  )
}

function headOf(answer: IncomingMessage, instead: Record<string, string> = {}): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`]
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    const name = answer.rawHeaders[i] as string
    if (instead[name.toLowerCase()] === undefined && name.toLowerCase() !== 'transfer-encoding')
      lines.push(`${name}: ${answer.rawHeaders[i + 1]}`)
  }
  for (const [name, value] of Object.entries(instead)) lines.push(`${name}: ${value}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}
