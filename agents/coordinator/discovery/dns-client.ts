/** Asks DNS servers for SRV records over UDP, and over TCP when the answer does not fit [RFC 7766]. */

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { SluiceError } from '../../../proto/errors.js'
import type { Clock } from '../clock.js'
import { withDeadline } from './deadline.js'
import { encodeSrvQuestion, readSrvAnswer, type SrvAnswer } from './dns-message.js'

const DNS_PORT = 53
/** NOERROR and NXDOMAIN are answers; the others are failures of the server. */
const ANSWERS: readonly number[] = [0, 3]

/**
 * Asks each server in turn, twice, until one answers.
 * @param servers `IP`, `IP:PORT`, `[IPv6]:PORT`
 * @param tryMs time for one server
 * @throws SluiceError `unavailable` when none does
 */
export async function askSrv(
  name: string,
  servers: readonly string[],
  tryMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<SrvAnswer> {
  let last: unknown = new SluiceError('unavailable', 'no DNS server is known')
  for (const server of [...servers, ...servers]) {
    signal.throwIfAborted()
    try {
      return await withDeadline(clock, signal, tryMs, (inner) => askServer(name, server, inner))
    } catch (error) {
      last = error
    }
  }
  throw last
}

async function askServer(name: string, server: string, signal: AbortSignal): Promise<SrvAnswer> {
  const question = encodeSrvQuestion(randomInt(65_536), name)
  const at = addressOf(server)
  let answer = await overUdp(question, at, signal)
  if (answer.truncated) answer = await overTcp(question, at, signal)
  if (!ANSWERS.includes(answer.code))
    throw new SluiceError('unavailable', `DNS server ${server} answers ${name} with failure ${answer.code}`)
  return answer
}

interface Address {
  readonly host: string
  readonly port: number
}

function overUdp(question: Uint8Array, { host, port }: Address, signal: AbortSignal): Promise<SrvAnswer> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
  return settle<SrvAnswer>(
    signal,
    () => socket.close(),
    (resolve, reject) => {
      socket.on('error', reject)
      socket.on('message', (bytes) => {
        // Anybody can send a datagram: what is no answer to this question is not from this server.
        try {
          resolve(readSrvAnswer(bytes, question))
        } catch {}
      })
      // Connected: datagrams from elsewhere are dropped, and a port where nobody listens is an error at once.
      socket.connect(port, host, () => socket.send(question))
    },
  )
}

function overTcp(question: Uint8Array, { host, port }: Address, signal: AbortSignal): Promise<SrvAnswer> {
  const socket = connect({ host, port })
  let bytes = Buffer.alloc(0)
  return settle<SrvAnswer>(
    signal,
    () => socket.destroy(),
    (resolve, reject) => {
      const head = Buffer.alloc(2)
      head.writeUInt16BE(question.length)
      socket.on('connect', () => socket.write(Buffer.concat([head, question])))
      socket.on('error', reject)
      socket.on('close', () => reject(new SluiceError('unavailable', 'the DNS server closed the connection')))
      socket.on('data', (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk])
        const length = bytes.length < 2 ? Number.POSITIVE_INFINITY : 2 + bytes.readUInt16BE(0)
        if (bytes.length < length) return
        try {
          resolve(readSrvAnswer(bytes.subarray(2, length), question))
        } catch (error) {
          reject(error)
        }
      })
    },
  )
}

/** Runs `begin` until it settles or the signal fires, then `end`. */
function settle<T>(
  signal: AbortSignal,
  end: () => void,
  begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let done = false
    const finish = (then: () => void): void => {
      if (done) return
      done = true
      signal.removeEventListener('abort', onAbort)
      end()
      then()
    }
    const onAbort = (): void => finish(() => reject(signal.reason))
    signal.addEventListener('abort', onAbort)
    begin(
      (value) => finish(() => resolve(value)),
      (error) => finish(() => reject(error)),
    )
  })
}

function addressOf(server: string): Address {
  if (isIPv6(server)) return { host: server, port: DNS_PORT }
  const match = /^\[?([^\]]+?)\]?(?::(\d+))?$/.exec(server)
  return { host: match?.[1] ?? server, port: Number(match?.[2] ?? DNS_PORT) }
}
