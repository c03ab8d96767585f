/**
 * Runs tables of MQTT wire cases against a server that listens already:
 *
 *     node dist/test/conformance/mqtt-wire.js FOLDER HOST:PORT [--only TEXT] [--verbose]
 *
 * A folder holds JSON files in the format of Eclipse Mosquitto's `test/broker/data`: groups of tests, each a list of
 * messages to send and to receive. Payloads are hex with marks: `rN` remaining length, `mN` and `HN` two bytes, `kN`
 * keep-alive, `sN` string length, `vN` variable byte integer, `iN` one byte, `LN` four bytes, 'text'. Exit code 1 when
 * a case fails. The tables themselves are not part of this repository.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { writeVarint } from '../../proto/mqtt/properties.js'

interface WireMessage {
  readonly type: 'send' | 'recv' | 'external_publish'
  readonly payload: string
  readonly topic?: string
  readonly qos?: number
}

interface WireTest {
  readonly name: string
  readonly msgs: readonly WireMessage[]
  readonly connect?: boolean
  readonly expect_disconnect?: boolean
  readonly ver?: number
}

interface WireGroup {
  readonly group: string
  readonly ver: number
  readonly connect?: boolean
  readonly tests: readonly WireTest[]
}

/** Milliseconds to wait for bytes or for the end of a connection. */
const PATIENCE = 2000

const uint = (value: number, bytes: number): Buffer => {
  const out = Buffer.alloc(bytes)
  out.writeUIntBE(value, 0, bytes)
  return out
}

function varint(value: number): Buffer {
  const out = Buffer.alloc(6)
  return out.subarray(0, writeVarint(out, 0, value))
}

/** The bytes that a payload of the table stands for. */
export function wireBytes(text: string): Buffer {
  const parts: Buffer[] = []
  for (const [token] of text.matchAll(/'[^']*'|\S+/g)) parts.push(tokenBytes(token))
  return Buffer.concat(parts)
}

function tokenBytes(token: string): Buffer {
  if (token.startsWith("'")) return Buffer.from(token.slice(1, -1))
  const mark = /^([rvmHskiL])(\d+)$/.exec(token)
  if (mark === null) return Buffer.from(token, 'hex')
  const value = Number(mark[2])
  switch (mark[1]) {
    case 'r':
    case 'v':
      return varint(value)
    case 'i':
      return uint(value, 1)
    case 'L':
      return uint(value, 4)
    default:
      return uint(value, 2)
  }
}

/** A connection that reads on demand. */
class Wire {
  readonly #socket: Socket
  #buffer = Buffer.alloc(0)
  #ended = false
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk])
      this.#wake()
    })
    for (const event of ['end', 'close', 'error']) {
      socket.on(event, () => {
        this.#ended = true
        this.#wake()
      })
    }
  }

  static open(host: string, port: number): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true }, () => resolve(new Wire(socket)))
      socket.once('error', reject)
    })
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  close(): void {
    this.#socket.destroy()
  }

  async #until(done: () => boolean): Promise<void> {
    const deadline = Date.now() + PATIENCE
    while (!done() && !this.#ended && Date.now() < deadline) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now())
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** One whole packet, or what there is of it when time is up. */
  async packet(): Promise<Buffer> {
    await this.#until(() => packetLength(this.#buffer) <= this.#buffer.length)
    const length = Math.min(packetLength(this.#buffer), this.#buffer.length)
    const packet = this.#buffer.subarray(0, length)
    this.#buffer = this.#buffer.subarray(length)
    return packet
  }

  /** Empty when the server closed without another byte; otherwise what is wrong. */
  async closed(): Promise<string> {
    await this.#until(() => this.#buffer.length > 0)
    if (this.#buffer.length > 0) return `unexpected ${this.#buffer.toString('hex')} before the end`
    return this.#ended ? '' : 'the connection stays open'
  }
}

function packetLength(bytes: Buffer): number {
  let length = 0
  for (let i = 1; i < 5; i++) {
    const byte = bytes[i]
    if (byte === undefined) return Number.POSITIVE_INFINITY
    length |= (byte & 0x7f) << (7 * (i - 1))
    if (byte < 0x80) return length + i + 1
  }
  return bytes.length
}

const clientConnect = (version: number, id: string): Buffer => {
  const name = version === 3 ? "s6 'MQIsdp'" : "s4 'MQTT'"
  const body = wireBytes(`${name} 0${version} 02 k60 ${version === 5 ? 'v0' : ''} s${id.length} '${id}'`)
  return Buffer.concat([Buffer.from([0x10]), varint(body.length), body])
}

/** CONNACKs are equal when session-present and code are; other packets byte by byte. */
function same(expected: Buffer, got: Buffer): boolean {
  if (expected[0] !== 0x20 || got[0] !== 0x20) return expected.equals(got)
  return expected[2] === got[2] && expected[3] === got[3]
}

async function publish(host: string, port: number, { topic = '', payload, qos = 0 }: WireMessage): Promise<void> {
  const helper = await Wire.open(host, port)
  helper.send(clientConnect(4, `helper-${process.pid}`))
  await helper.packet()
  const id = qos > 0 ? 'm1' : ''
  const body = wireBytes(`s${topic.length} '${topic}' ${id} '${payload}'`)
  helper.send(Buffer.concat([Buffer.from([0x30 | (qos << 1)]), varint(body.length), body]))
  if (qos > 0) await helper.packet()
  if (qos === 2) {
    helper.send(wireBytes('62 r2 m1'))
    await helper.packet()
  }
  helper.send(wireBytes('E0 r0'))
  helper.close()
}

async function exchange(wire: Wire, message: WireMessage, host: string, port: number): Promise<string> {
  if (message.type === 'external_publish') await publish(host, port, message)
  else if (message.type === 'send') wire.send(wireBytes(message.payload))
  else {
    const expected = wireBytes(message.payload)
    const got = await wire.packet()
    if (!same(expected, got)) return `expected ${expected.toString('hex')}, got ${got.toString('hex') || 'nothing'}`
  }
  return ''
}

/** @returns what is wrong, empty when the case passes */
async function run(test: WireTest, group: WireGroup, host: string, port: number): Promise<string> {
  const version = test.ver ?? group.ver
  const wire = await Wire.open(host, port)
  try {
    if (test.connect ?? group.connect ?? true) {
      wire.send(clientConnect(version, 'wire-case'))
      const connack = await wire.packet()
      if (connack[0] !== 0x20 || connack[3] !== 0) return `the CONNECT before it failed: ${connack.toString('hex')}`
    }
    for (const message of test.msgs) {
      const wrong = await exchange(wire, message, host, port)
      if (wrong !== '') return wrong
    }
    if (test.expect_disconnect ?? true) return await wire.closed()
    wire.send(wireBytes('C0 r0'))
    const pong = await wire.packet()
    return pong.equals(wireBytes('D0 r0')) ? '' : `no PINGRESP but ${pong.toString('hex') || 'nothing'}`
  } finally {
    wire.close()
  }
}

async function main([folder, target, ...flags]: string[]): Promise<void> {
  const [host, port] = (target ?? '').split(':')
  if (folder === undefined || host === undefined || port === undefined) throw new Error('usage: FOLDER HOST:PORT')
  const only = flags.includes('--only') ? (flags[flags.indexOf('--only') + 1] ?? '') : ''
  let passed = 0
  let failed = 0
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
    for (const group of JSON.parse(readFileSync(join(folder, file), 'utf8')) as WireGroup[]) {
      for (const test of group.tests) {
        const name = `${file}: ${group.group}: ${test.name}`
        if (!name.includes(only)) continue
        const wrong = await run(test, group, host, Number(port))
        if (wrong === '') passed++
        else failed++
        if (wrong !== '' || flags.includes('--verbose'))
          console.log(`${wrong === '' ? 'ok' : 'FAILED'} ${name} ${wrong}`)
      }
    }
  }
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
}

await main(process.argv.slice(2))
