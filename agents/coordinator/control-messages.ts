/** Reads what gateways and workers send. Every field is checked here, once; behind this file messages are trusted. */

import type {
  Answer,
  DrainRequest,
  GatewayHeartbeat,
  LinkReport,
  MoveReceipt,
  MoveReport,
  RegisterGateway,
  RegisterWorker,
  TableAck,
  TableNack,
  ToCoordinator,
  WorkerHeartbeat,
} from '../../proto/control.js'
import { CONTROL_PROTOCOL, unpackControl } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import {
  type Fields,
  MAX_TEXT,
  malformed,
  readChoice,
  readCount,
  readList,
  readNumber,
  readObject,
  readText,
} from '../../proto/fields.js'
import { SLOTS } from '../../proto/hash.js'
import { gatewayProblem, workerProblem } from '../../proto/table-check.js'
import { readLocation, readPeers } from '../../proto/table-fields.js'

const MAX_COUNT = Number.MAX_SAFE_INTEGER
const MAX_POOLS = 2_000
/** Receipts in one report; a gateway sends them in batches. */
const MAX_RECEIPTS = 10_000

/** First message of a connection. @throws SluiceError `bad_request`, `protocol_mismatch` */
export function readRegistration(bytes: Uint8Array): RegisterWorker | RegisterGateway {
  const fields = readObject(unpackControl(bytes), 'message')
  if (fields.t !== 'register_worker' && fields.t !== 'register_gateway') {
    throw new SluiceError('bad_request', 'the first message must be register_worker or register_gateway', { path: 't' })
  }
  if (fields.protocol !== CONTROL_PROTOCOL) {
    const message = `this coordinator speaks control protocol ${CONTROL_PROTOCOL}, not ${String(fields.protocol)}`
    throw new SluiceError('protocol_mismatch', message)
  }
  return fields.t === 'register_worker' ? readWorkerRegistration(fields) : readGatewayRegistration(fields)
}

/** Any later message. @throws SluiceError `bad_request` */
export function readMessage(bytes: Uint8Array): Exclude<ToCoordinator, RegisterWorker | RegisterGateway> {
  const fields = readObject(unpackControl(bytes), 'message')
  const read = READERS[fields.t as keyof typeof READERS]
  if (read === undefined || typeof fields.t !== 'string' || !Object.hasOwn(READERS, fields.t)) {
    malformed('t', 'a message that the coordinator takes')
  }
  return read(fields)
}

const READERS = {
  worker_heartbeat: (fields: Fields): WorkerHeartbeat => ({
    t: 'worker_heartbeat',
    sessions: readCount(fields.sessions, 'sessions', 0, MAX_COUNT),
    lagMs: readNumber(fields.lagMs, 'lagMs', 0, MAX_COUNT),
  }),
  gateway_heartbeat: readGatewayHeartbeat,
  link_report: (fields: Fields): LinkReport => ({
    t: 'link_report',
    worker: readText(fields.worker, 'worker'),
    event: readChoice(fields.event, 'event', ['up', 'down', 'timeout', 'refused'] as const),
    ...(fields.detail === undefined ? {} : { detail: readText(fields.detail, 'detail', MAX_TEXT) }),
  }),
  ack: (fields: Fields): TableAck => ({ t: 'ack', version: readCount(fields.version, 'version', 0, MAX_COUNT) }),
  nack: (fields: Fields): TableNack => ({
    t: 'nack',
    version: readCount(fields.version, 'version', 0, MAX_COUNT),
    serving: readCount(fields.serving, 'serving', 0, MAX_COUNT),
    code: readText(fields.code, 'code'),
    message: readText(fields.message, 'message', MAX_TEXT),
  }),
  answer: (fields: Fields): Answer => ({
    t: 'answer',
    id: readCount(fields.id, 'id', 0, MAX_COUNT),
    body: fields.body,
  }),
  drain: (fields: Fields): DrainRequest => ({ t: 'drain', id: readText(fields.id, 'id') }),
  move_report: (fields: Fields): MoveReport => ({
    t: 'move_report',
    version: readCount(fields.version, 'version', 0, MAX_COUNT),
    pool: readText(fields.pool, 'pool'),
    // Below 0 when moves that were reported as planned were called off.
    planned: readCount(fields.planned, 'planned', -MAX_COUNT, MAX_COUNT),
    done: readCount(fields.done, 'done', 0, MAX_COUNT),
    failed: readCount(fields.failed, 'failed', 0, MAX_COUNT),
    receipts: readList(fields.receipts, 'receipts', MAX_RECEIPTS).map((receipt, i) =>
      readReceipt(receipt, `receipts[${i}]`),
    ),
  }),
}

function readWorkerRegistration(fields: Fields): RegisterWorker {
  const worker: RegisterWorker = {
    t: 'register_worker',
    protocol: CONTROL_PROTOCOL,
    id: readText(fields.id, 'id'),
    pool: readText(fields.pool, 'pool'),
    link: readText(fields.link, 'link', MAX_TEXT),
    weight: readNumber(fields.weight, 'weight', 0, 1000),
    pid: readCount(fields.pid, 'pid', 0, MAX_COUNT),
    incarnation: readText(fields.incarnation, 'incarnation'),
    sessions: readCount(fields.sessions, 'sessions', 0, MAX_COUNT),
  }
  const problem = workerProblem(worker)
  if (problem !== undefined) throw new SluiceError('bad_request', `worker refused: ${problem}`)
  return worker
}

function readGatewayRegistration(fields: Fields): RegisterGateway {
  const gateway: RegisterGateway = {
    t: 'register_gateway',
    protocol: CONTROL_PROTOCOL,
    id: readText(fields.id, 'id'),
    region: readText(fields.region, 'region'),
    ...(fields.location === undefined || fields.location === null
      ? {}
      : { location: readLocation(fields.location, 'location') }),
    http: readText(fields.http, 'http', MAX_TEXT),
    ws: readText(fields.ws, 'ws', MAX_TEXT),
    mqtt: readText(fields.mqtt, 'mqtt', MAX_TEXT),
    ...(fields.peers === undefined || fields.peers === null ? {} : { peers: readPeers(fields.peers, 'peers') }),
    capacity: readNumber(fields.capacity, 'capacity', 0, MAX_COUNT),
    pid: readCount(fields.pid, 'pid', 0, MAX_COUNT),
    incarnation: readText(fields.incarnation, 'incarnation'),
    tableVersion: readCount(fields.tableVersion, 'tableVersion', 0, MAX_COUNT),
  }
  const problem = gatewayProblem(gateway)
  if (problem !== undefined) throw new SluiceError('bad_request', `gateway refused: ${problem}`)
  return gateway
}

function readGatewayHeartbeat(fields: Fields): GatewayHeartbeat {
  const counters = readObject(fields.counters, 'counters')
  const counter = (name: string): number => readCount(counters[name], `counters.${name}`, 0, MAX_COUNT)
  return {
    t: 'gateway_heartbeat',
    sessions: readCount(fields.sessions, 'sessions', 0, MAX_COUNT),
    lagMs: readNumber(fields.lagMs, 'lagMs', 0, MAX_COUNT),
    pools: readPoolLoads(fields.pools),
    counters: {
      connects: counter('connects'),
      disconnects: counter('disconnects'),
      errors: counter('errors'),
      framesUp: counter('framesUp'),
      framesDown: counter('framesDown'),
    },
    p99Ms: readNumber(fields.p99Ms, 'p99Ms', 0, MAX_COUNT),
  }
}

function readPoolLoads(value: unknown): GatewayHeartbeat['pools'] {
  const entries = Object.entries(readObject(value, 'pools'))
  if (entries.length > MAX_POOLS) malformed('pools', `a record of at most ${MAX_POOLS} pools`)
  const pools: GatewayHeartbeat['pools'] = {}
  for (const [name, load] of entries) {
    const path = `pools.${readText(name, 'pools')}`
    const { workers, slots } = readObject(load, path)
    pools[name] = {
      workers: readWorkerCounts(workers, `${path}.workers`),
      slots: readSlotCounts(slots, `${path}.slots`),
    }
  }
  return pools
}

function readWorkerCounts(value: unknown, path: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [id, count] of Object.entries(readObject(value, path))) {
    counts[readText(id, path)] = readCount(count, `${path}.${id}`, 0, MAX_COUNT)
  }
  return counts
}

function readSlotCounts(value: unknown, path: string): number[] {
  const list = readList(value, path, SLOTS * 2)
  if (list.length % 2 !== 0) malformed(path, 'a list of slots with their counts')
  for (let i = 0; i < list.length; i += 2) {
    readCount(list[i], path, 0, SLOTS - 1)
    readCount(list[i + 1], path, 0, 0xffffffff)
  }
  return list as number[]
}

function readReceipt(value: unknown, path: string): MoveReceipt {
  const fields = readObject(value, path)
  return {
    device: readText(fields.device, `${path}.device`, MAX_TEXT),
    from: readText(fields.from, `${path}.from`),
    to: readText(fields.to, `${path}.to`),
    lastSeq: readCount(fields.lastSeq, `${path}.lastSeq`, 0, MAX_COUNT),
    firstSeq: readCount(fields.firstSeq, `${path}.firstSeq`, 0, MAX_COUNT),
    pauseMs: readNumber(fields.pauseMs, `${path}.pauseMs`, 0, MAX_COUNT),
  }
}
