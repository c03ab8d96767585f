/** What is measured. */

import { encodeFrame, FrameType } from '../../proto/frame.js'
import type { Contender, Running } from './contenders/contender.js'
import { haproxy, mosquitto, nats, nginx } from './contenders/installed-servers.js'
import { aedes, bareBroker, bareRelay, uws, ws } from './contenders/node-peers.js'
import { BROKER_ROUTES, sluice } from './contenders/sluice.js'
import type { Figures } from './load-generator.js'

/** Seconds of one run. */
export interface Duration {
  readonly warm: number
  readonly secs: number
}

/** One of the numbers that a case yields. */
export interface Metric {
  readonly name: string
  readonly unit: string
  /** True when more is better. */
  readonly more: boolean
  read(figures: Figures): number | undefined
}

export interface BenchCase {
  readonly name: string
  readonly title: string
  readonly contenders: readonly Contender[]
  /** The first one is compared and plotted. */
  readonly metrics: readonly Metric[]
  /** Needs the generator that numbers its frames. */
  readonly ownGenerator?: boolean
  /** Nothing is pinned: the gateway may use every core. */
  readonly unpinned?: boolean
  /** Start the contender anew for each run: memory does not shrink again. */
  readonly fresh?: boolean
  args(running: Running, contender: Contender, duration: Duration): string[]
}

const PAYLOAD = new Uint8Array(64).fill(0x78)
const TOPIC = 'bench/fan'
const DATA = hex(encodeFrame({ payload: PAYLOAD }))
const SUBSCRIBE = hex(encodeFrame({ type: FrameType.SUBSCRIBE, topic: TOPIC }))
const published = encodeFrame({ type: FrameType.PUBLISH, topic: TOPIC, payload: PAYLOAD })
const PUBLISH = hex(published)
const PUBLISH_OFFSET = published.length - PAYLOAD.length

const throughput: Metric = {
  name: 'messages',
  unit: '1/s',
  more: true,
  read: (figures) => figures.msgs_per_s ?? figures.deliveries_per_s,
}
const p50: Metric = { name: 'p50', unit: 'µs', more: false, read: (figures) => figures.p50_us }
const p99: Metric = { name: 'p99', unit: 'µs', more: false, read: (figures) => figures.p99_us }
const connects: Metric = { name: 'connects', unit: '1/s', more: true, read: (figures) => figures.conns_per_s }
const memory: Metric = {
  name: 'memory a session',
  unit: 'bytes',
  more: false,
  read: (figures) => figures.rss_per_conn_b?.[0],
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function timing({ pids }: Running, { warm, secs }: Duration): string[] {
  return ['--warm', `${warm}`, '--secs', `${secs}`, '--pid', pids.join(',')]
}

/** How a device opens its connection. */
function connecting(running: Running, { frames }: Contender): string[] {
  const path = frames ? ['--path', '/v1/connect?device=d{i}', '--skip', '1'] : []
  return ['--port', `${running.ws}`, ...path]
}

function relay(name: string, title: string, load: readonly string[], metrics: readonly Metric[]): BenchCase {
  return {
    name,
    title,
    contenders: [sluice(), uws, bareRelay, haproxy, nginx, ws],
    metrics,
    args: (running, contender, duration) => [
      'ws-echo',
      ...connecting(running, contender),
      ...(contender.frames ? ['--hex', DATA] : ['--size', `${PAYLOAD.length}`]),
      ...load,
      ...timing(running, duration),
    ],
  }
}

const relayAcked: BenchCase = {
  ...relay('relay-acked', 'Relay, acknowledged (seq > 0) beside seq 0, 100 × window 16', [], [throughput, p50, p99]),
  contenders: [sluice({ name: 'Sluice' }), sluice({ name: 'Sluice, seq 0' }), uws],
  ownGenerator: true,
  args: (running, contender, duration) => [
    'ws-echo',
    ...connecting(running, contender),
    ...(contender.frames ? ['--hex', DATA] : ['--size', `${PAYLOAD.length}`]),
    ...(contender.name === 'Sluice' ? ['--acked'] : []),
    ...['--conns', '100', '--window', '16'],
    ...timing(running, duration),
  ],
}

const W16 = ['--conns', '100', '--window', '16']

const cost: BenchCase = {
  ...relay('relay-cost', 'Relay, window 16: admission limits set and metrics read every second', W16, [
    throughput,
    p50,
    p99,
  ]),
  contenders: [
    sluice({
      name: 'Sluice, limited and scraped',
      config: 'gateway: { websocket: { maxConnections: 100000, connectsPerSecond: 100000, maxFrame: 65536 } }\n',
      scraped: true,
    }),
    sluice({ name: 'Sluice' }),
  ],
}

const threads: BenchCase = {
  ...relay('relay-threads', 'Relay, window 16: two threads, nothing pinned', W16, [throughput, p50, p99]),
  contenders: [
    sluice({ name: 'Sluice, 2 threads', gatewayFlags: ['--threads', '2'] }),
    sluice({ name: 'Sluice, 1 thread' }),
  ],
  unpinned: true,
}

function fanOut(name: string, subscribers: number): BenchCase {
  return {
    name,
    title: `Fan-out, WebSocket, 1 → ${subscribers.toLocaleString('en')}, deliveries`,
    contenders: [sluice(), uws, ws],
    metrics: [throughput, p50, p99],
    args: (running, { frames }, duration) => [
      'ws-fanout',
      ...['--port', `${running.ws}`, '--conns', `${subscribers}`, '--window', '1'],
      ...(frames ? framedFanOut() : ['--path', '/pub', '--path-sub', '/sub', '--size', `${PAYLOAD.length}`]),
      ...timing(running, duration),
    ],
  }
}

function framedFanOut(): string[] {
  const path = '/v1/connect?device=d{i}'
  const publisher = ['--path', path, '--skip', '1', '--hex', PUBLISH, '--ts-off', `${PUBLISH_OFFSET}`]
  return [...publisher, '--path-sub', path, '--skip-sub', '1', '--open-hex-sub', SUBSCRIBE]
}

function mqtt(name: string, title: string, load: readonly string[], more: readonly Contender[] = []): BenchCase {
  return {
    name,
    title,
    contenders: [sluice({ routes: BROKER_ROUTES }), ...more, mosquitto, nats, aedes],
    metrics: [throughput, p50, p99],
    args: (running, _contender, duration) => [
      ...load,
      ...['--port', `${running.mqtt}`, '--size', '64'],
      ...timing(running, duration),
    ],
  }
}

function pairs(qos: 0 | 1, window: number): BenchCase {
  const load = ['mqtt-pubsub', '--pubs', '50', '--subs', '50', '--qos', `${qos}`, '--window', `${window}`]
  const title = `MQTT QoS ${qos}, 50 → 50, window ${window}, deliveries`
  const alsoRouted = sluice({ name: 'Sluice, also to a worker' })
  return mqtt(`mqtt-qos${qos}-w${window}`, title, load, [alsoRouted])
}

/** Sessions of the idle and connect cases. */
const IDLE = 10_000

const idleWs: BenchCase = {
  name: 'idle-ws',
  title: 'Connects and idle memory, 10,000 WebSocket sessions',
  contenders: [sluice(), uws, ws],
  metrics: [connects, memory],
  fresh: true,
  args: (running, contender) => [
    'ws-idle',
    ...connecting(running, contender),
    ...['--conns', `${IDLE}`, '--hold', '1', '--pid', running.pids.join(',')],
  ],
}

const idleMqtt: BenchCase = {
  name: 'idle-mqtt',
  title: 'Connects and idle memory, 10,000 MQTT sessions',
  contenders: [sluice(), mosquitto, nats, aedes],
  metrics: [connects, memory],
  fresh: true,
  args: (running) => [
    'mqtt-idle',
    ...['--port', `${running.mqtt}`, '--conns', `${IDLE}`, '--hold', '1', '--pid', running.pids.join(',')],
  ],
}

const OPEN_LOOP = ['--conns', '1000', '--rate', '20000', '--window', '64']

/** Every case, in the order of the table. */
export const CASES: readonly BenchCase[] = [
  relay('relay-w1', 'Relay, 100 × window 1, round trips', ['--conns', '100', '--window', '1'], [throughput, p50, p99]),
  relay(
    'relay-w16',
    'Relay, 100 × window 16, round trips',
    ['--conns', '100', '--window', '16'],
    [throughput, p50, p99],
  ),
  relayAcked,
  cost,
  threads,
  relay('relay-20k', 'Relay at 20,000/s over 1,000 connections', OPEN_LOOP, [p50, p99, throughput]),
  fanOut('fanout-1k', 1000),
  fanOut('fanout-10k', 10_000),
  pairs(0, 1),
  pairs(0, 16),
  pairs(1, 1),
  pairs(1, 16),
  mqtt('mqtt-fanout', 'Fan-out, MQTT QoS 0, 1 → 1,000, deliveries', ['mqtt-fanout', '--conns', '1000'], [bareBroker]),
  idleWs,
  idleMqtt,
]
