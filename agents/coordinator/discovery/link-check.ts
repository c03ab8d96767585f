/**
 * One health check of a worker: dial its link, say HELLO as a gateway would, PING, hang up. docs/link-protocol.md tells the
 * records; an id that begins with `health:` tells the worker that no session and no publish belongs on this link.
 */

import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { SluiceError } from '../../../proto/errors.js'
import { HEALTH_LINK, LINK_PROTOCOL, LinkKind, RecordBatch, RecordReader } from '../../../proto/link.js'
import { packLinkControl, readClose, readHello } from '../../../proto/link-control.js'
import { isId } from '../../../proto/table-check.js'
import type { Clock } from '../clock.js'

/** What a worker says of itself. */
export interface LinkAnswer {
  readonly id: string
  readonly pool?: string
  readonly sessions: number
  /** It wants its sessions moved elsewhere. */
  readonly draining: boolean
}

/** How checks are made. */
export interface LinkCheckOptions {
  /** Name of this coordinator. */
  readonly coordinator: string
  /** The fleet's secret. */
  readonly token?: string
  readonly tls?: ConnectionOptions
  readonly timeoutMs: number
  readonly clock: Clock
}

/** Largest record that a check reads: HELLO and PONG are far below. */
const MAX_CHECK_RECORD = 64 * 1024

/**
 * Resolves when the worker answered HELLO and PING.
 * @throws SluiceError `unavailable`, `protocol_mismatch`, or what the worker refused the link with
 */
export function checkLink(link: string, options: LinkCheckOptions): Promise<LinkAnswer> {
  return new Promise((resolve, reject) => {
    const { timeoutMs, clock } = options
    const socket = dial(link, options.tls)
    const done = (end: () => void): void => {
      cancel()
      socket.destroy()
      end()
    }
    const fail = (error: unknown): void => done(() => reject(error))
    const cancel = clock.after(timeoutMs, () => fail(unavailable(`no answer within ${timeoutMs} ms`)))
    const exchange = new Exchange((answer) => done(() => resolve(answer)))
    socket.once(link.startsWith('tls:') ? 'secureConnect' : 'connect', () => socket.write(exchange.opening(options)))
    socket.on('error', (error) => fail(unavailable(error.message)))
    socket.on('close', () => fail(unavailable('the worker closed the connection')))
    socket.on('data', (chunk: Buffer) => {
      try {
        exchange.read(chunk)
      } catch (error) {
        fail(error instanceof SluiceError ? error : unavailable((error as Error).message))
      }
    })
  })
}

/** The records of one check. */
class Exchange {
  readonly #nonce = randomBytes(8)
  readonly #reader = new RecordReader((...record) => this.#record(...record), MAX_CHECK_RECORD)
  readonly #onAnswer: (answer: LinkAnswer) => void
  #answer: LinkAnswer | undefined

  constructor(onAnswer: (answer: LinkAnswer) => void) {
    this.#onAnswer = onAnswer
  }

  opening({ coordinator, token }: Pick<LinkCheckOptions, 'coordinator' | 'token'>): Uint8Array {
    const batch = new RecordBatch(512)
    const hello = { protocol: LINK_PROTOCOL, id: `${HEALTH_LINK}${coordinator}`, role: 'gateway' as const }
    batch.add(LinkKind.HELLO, 0, packLinkControl(token === undefined ? hello : { ...hello, token }))
    batch.add(LinkKind.PING, 0, this.#nonce)
    return batch.take()
  }

  read(chunk: Uint8Array): void {
    this.#reader.push(chunk)
  }

  #record(kind: number, _binding: number, bytes: Uint8Array, start: number, end: number): void {
    if (kind === LinkKind.CLOSE) {
      const { code, message } = readClose(bytes, start, end)
      throw unavailable(`the worker refused the link: ${code}: ${message ?? ''}`)
    }
    if (kind === LinkKind.HELLO) this.#answer = readAnswer(bytes, start, end)
    else if (this.#answer === undefined)
      throw new SluiceError('protocol_mismatch', 'what answers there did not say HELLO first')
    else if (kind === LinkKind.PONG && this.#nonce.equals(bytes.subarray(start, end))) this.#onAnswer(this.#answer)
  }
}

function readAnswer(bytes: Uint8Array, start: number, end: number): LinkAnswer {
  const { protocol, id, role, pool, sessions = 0, draining = false } = readHello(bytes, start, end)
  if (role !== 'worker') throw new SluiceError('protocol_mismatch', `what answers there is a ${role}, not a worker`)
  if (protocol !== LINK_PROTOCOL)
    throw new SluiceError('protocol_mismatch', `the worker speaks link protocol ${protocol}, not ${LINK_PROTOCOL}`)
  if (!isId(id)) throw new SluiceError('bad_request', 'the worker has no usable id', { path: 'id' })
  return { id, sessions, draining, ...(pool === undefined || pool === '' ? {} : { pool }) }
}

function dial(link: string, tls: ConnectionOptions | undefined): Socket {
  if (link.startsWith('unix:')) return connect({ path: link.slice(5) })
  const { protocol, hostname, port } = new URL(link)
  const host = hostname.replace(/^\[|\]$/g, '')
  return protocol === 'tls:' ? connectTls({ ...tls, host, port: Number(port) }) : connect({ host, port: Number(port) })
}

function unavailable(reason: string): SluiceError {
  return new SluiceError('unavailable', reason)
}
