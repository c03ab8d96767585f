import { randomUUID } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'
import { createMqttEdge, type MqttEdge, type MqttEdgeSetup } from '../../../../gateway/edge/mqtt/edge.js'
import { createFanout, type LocalFanout } from '../../../../gateway/fanout/fan-out.js'
import {
  type DevicePort,
  type DeviceSession,
  type OpenSession,
  Relay,
  type SessionHost,
} from '../../../../gateway/ports.js'
import { encodeFrame, FrameView } from '../../../../proto/frame.js'
import { ManualClock } from '../../../manual-clock.js'

export const quiet = { debug() {}, info() {}, warn() {}, error() {} }

/** The worker's side of one device, played by the test. */
export class FakeSession implements DeviceSession {
  readonly id = randomUUID()
  readonly device: string
  readonly request: OpenSession
  resumed = false
  uplinkAcked = 0
  port: DevicePort | undefined
  /** What {@link relay} answers: a route takes the message, or not. */
  outcome: 'routed' | 'unrouted' | 'overloaded'
  readonly relayed: {
    topic: string
    payload: string
    seq: number
    headers: Readonly<Record<string, string>> | undefined
    redelivered: boolean
  }[] = []
  readonly confirmed: number[] = []
  ended = ''
  #seq = 0

  constructor(request: OpenSession, outcome: 'routed' | 'unrouted' | 'overloaded') {
    this.request = request
    this.device = request.device
    this.outcome = outcome
  }
  relayFrame(): number {
    return Relay.UNROUTED
  }
  relay(
    _type: number,
    topic: string,
    payload: Uint8Array,
    acked: boolean,
    headers?: Readonly<Record<string, string>>,
    redelivered = false,
  ): number {
    if (this.outcome === 'unrouted') return Relay.UNROUTED
    if (this.outcome === 'overloaded') return Relay.OVERLOADED
    const seq = acked ? ++this.#seq : 0
    this.relayed.push({ topic, payload: Buffer.from(payload).toString(), seq, headers, redelivered })
    return seq
  }
  begin(): number {
    return 0
  }
  finish(): void {}
  replay(): void {}
  deviceAcked(seq: number): void {
    this.confirmed.push(seq)
  }
  detach(port: DevicePort, final: boolean, code: string): void {
    if (port !== this.port) return
    this.port = undefined
    this.ended = `${code}${final ? ' final' : ''}`
  }
  /** Workers processed everything up to `seq`. */
  processed(seq: number): void {
    this.uplinkAcked = seq
    this.port?.acknowledged(seq)
  }
  /** A worker's answer to the device. */
  answer(topic: string, payload: string, seq = 0): void {
    const bytes = encodeFrame({ topic, payload: Buffer.from(payload) })
    const view = new FrameView()
    view.read(bytes)
    this.port?.deliver(view, 0, bytes.length, seq, false)
  }
}

export class FakeHost implements SessionHost {
  readonly sessions = new Map<string, FakeSession>()
  outcome: 'routed' | 'unrouted' | 'overloaded' = 'unrouted'
  refuse: Error | undefined
  open(request: OpenSession, port: DevicePort): FakeSession {
    if (this.refuse !== undefined) throw this.refuse
    const old = this.sessions.get(request.device)
    const session =
      old !== undefined && request.continue && !old.ended.includes('final')
        ? old
        : new FakeSession(request, this.outcome)
    session.resumed = session === old
    session.port = port
    this.sessions.set(request.device, session)
    return session
  }
  of(device: string): FakeSession {
    const found = this.sessions.get(device)
    if (found === undefined) throw new Error(`no session of ${device}`)
    return found
  }
}

export interface Bench {
  readonly edge: MqttEdge
  readonly host: FakeHost
  readonly fanout: LocalFanout
  readonly clock: ManualClock
  readonly port: number
  /** A connection that says CONNECT and has read its CONNACK. */
  client(options?: Partial<mqttPacket.IConnectPacket>): Promise<RawClient>
  close(): Promise<void>
}

export async function startBench(setup: Partial<MqttEdgeSetup> = {}): Promise<Bench> {
  const clock = new ManualClock()
  const host = new FakeHost()
  const fanout = createFanout({ clock, log: quiet })
  const edge = createMqttEdge({ host, fanout, clock, log: quiet, newId: randomUUID, ...setup })
  const port = await edge.listen('127.0.0.1', 0)
  const clients: RawClient[] = []
  return {
    edge,
    host,
    fanout,
    clock,
    port,
    async client(options = {}) {
      const client = await RawClient.open(port, options.protocolVersion ?? 5)
      clients.push(client)
      client.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 5,
        clean: true,
        clientId: 'c',
        keepalive: 0,
        ...options,
      } as mqttPacket.IConnectPacket)
      client.connack = (await client.next('connack')) as mqttPacket.IConnackPacket
      return client
    },
    async close() {
      for (const client of clients) client.destroy()
      await edge.close()
      await fanout.close()
    },
  }
}

/** A client that does nothing by itself: the test says every packet. */
export class RawClient {
  readonly #socket: Socket
  readonly #version: number
  readonly #packets: mqttPacket.Packet[] = []
  #wake: () => void = () => {}
  #closed = false
  connack: mqttPacket.IConnackPacket | undefined

  constructor(socket: Socket, version: number) {
    this.#socket = socket
    this.#version = version
    const parser = mqttPacket.parser({ protocolVersion: version })
    parser.on('packet', (packet) => {
      this.#packets.push(packet)
      this.#wake()
    })
    socket.on('data', (chunk) => parser.parse(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#closed = true
      this.#wake()
    })
  }

  static open(port: number, version: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(new RawClient(socket, version)))
      socket.once('error', reject)
    })
  }

  send(packet: mqttPacket.Packet): void {
    this.#socket.write(mqttPacket.generate(packet, { protocolVersion: this.#version }))
  }

  raw(hex: string): void {
    this.#socket.write(Buffer.from(hex.replace(/ /g, ''), 'hex'))
  }

  /** The next packet. */
  async take(instead = 'a packet'): Promise<mqttPacket.Packet> {
    while (this.#packets.length === 0) {
      if (this.#closed) throw new Error(`the connection ended instead of ${instead}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#packets.shift() as mqttPacket.Packet
  }

  /** The next packet, which has to be of this kind. */
  async next(cmd: string): Promise<mqttPacket.Packet> {
    const packet = await this.take(cmd)
    if (packet.cmd !== cmd) throw new Error(`${cmd} was expected, ${JSON.stringify(packet)} came`)
    return packet
  }

  publish(topic: string, payload: string, qos: 0 | 1 | 2 = 0, more: Partial<mqttPacket.IPublishPacket> = {}): void {
    this.send({ cmd: 'publish', topic, payload, qos, dup: false, retain: false, messageId: 1, ...more })
  }

  async nextPublish(): Promise<mqttPacket.IPublishPacket> {
    return (await this.next('publish')) as mqttPacket.IPublishPacket
  }

  async subscribe(topic: string, qos: 0 | 1 | 2 = 0, more: object = {}, properties?: object): Promise<number> {
    const subscription = { topic, qos, nl: false, rap: false, rh: 0, ...more } as mqttPacket.ISubscription
    this.send({ cmd: 'subscribe', messageId: 900, subscriptions: [subscription], ...(properties && { properties }) })
    const { granted } = (await this.next('suback')) as mqttPacket.ISubackPacket
    return granted[0] as number
  }

  /** Proves that nothing else was on its way: the answer to a PINGREQ comes next. */
  async nothing(): Promise<void> {
    this.send({ cmd: 'pingreq' })
    await this.next('pingresp')
  }

  /** Waits for the server to close; returns the reason of its DISCONNECT, -1 when there was none. */
  async ended(): Promise<number> {
    while (!this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const last = this.#packets.at(-1)
    return last?.cmd === 'disconnect' ? (last.reasonCode ?? 0) : -1
  }

  /** What came and was not asked for. */
  rest(): mqttPacket.Packet[] {
    return this.#packets.splice(0)
  }

  disconnect(reasonCode = 0, properties?: object): Promise<number> {
    const five = this.#version === 5 ? { reasonCode, ...(properties && { properties }) } : {}
    this.send({ cmd: 'disconnect', ...five })
    return this.ended()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

/** Gives the server's event loop the turns that it needs to notice a closed socket. */
export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setImmediate(resolve))
  if (!condition()) throw new Error('the condition did not come true')
}
