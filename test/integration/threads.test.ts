/** One gateway on several cores: one name, one set of ports, and the same service whichever thread a device meets. */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import mqtt from 'mqtt'
import t from 'tap'
import { encodeFrame, FrameType } from '../../proto/frame.js'
import { PlainDevice } from './plain-device.js'
import { eventually, type Product, SLUICE, startProduct } from './product.js'

interface ThreadStatus {
  pid: number
  sessions: number
}

let product: Product

t.before(async () => {
  // A short resume window: sessions of one test are gone in the next.
  const config = join(t.testdir({ 'fleet.yaml': 'gateway: { resumeWindowMs: 700 }\n' }), 'fleet.yaml')
  product = await startProduct('--gateways', '1', '--workers', '1', '--threads', '2', '--config', config)
})

t.teardown(async () => {
  await product.stop()
})

const gateway = () => product.gateways[0] as Product['gateways'][number]

async function ask<T>(path: string): Promise<T> {
  return (await (await fetch(`${gateway().http}${path}`)).json()) as T
}

async function threads(): Promise<ThreadStatus[]> {
  return (await ask<{ threads: ThreadStatus[] }>('/v1/status')).threads
}

const counts = async () => (await threads()).map(({ sessions }) => sessions)

/** The thread that holds the only session there is. */
async function holder(): Promise<number> {
  return eventually('one session', 3000, async () => {
    const held = await counts()
    return held.reduce((a, b) => a + b) === 1 ? held.indexOf(1) : undefined
  })
}

async function connected(
  device: string,
  query = '',
): Promise<{ device: PlainDevice; session: string; resumed: string }> {
  const plain = new PlainDevice(`${gateway().ws}?device=${device}${query}`)
  const { session, resumed, gateway: name } = (await plain.next(FrameType.WELCOME)).headers() as Record<string, string>
  t.equal(name, 'gateway-1')
  return { device: plain, session: session ?? '', resumed: resumed ?? '' }
}

/** Connects again and again until the other thread took it; each time the way that `again` does it. */
async function untilOtherThread(first: number, again: () => Promise<void>): Promise<void> {
  for (let tries = 0; tries < 30; tries++) {
    await again()
    if ((await holder()) !== first) return
  }
  t.fail('30 connections all went to one thread')
}

/** Sends acknowledged frames and checks that each comes back. */
async function echoes(device: PlainDevice, from: number, to: number): Promise<void> {
  for (let seq = from; seq <= to; seq++) device.send(encodeFrame({ seq, topic: 'e', payload: Buffer.from(`${seq}`) }))
  for (let seq = from; seq <= to; seq++) {
    const frame = await device.next(FrameType.DATA)
    t.equal(Buffer.from(frame.payload()).toString(), `${seq}`)
    device.send(encodeFrame({ type: FrameType.ACK, ack: frame.seq }))
  }
}

t.afterEach(async () => {
  if (product.child.exitCode !== null) return
  await eventually('an empty gateway', 3000, async () => ((await counts()).every((n) => n === 0) ? true : undefined))
})

/** Runs the command line to its end. */
function run(...args: string[]): Promise<{ stderr: string; code: number | null }> {
  const child = spawn(process.execPath, [SLUICE, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ stderr, code })))
}

t.test('connections of both protocols spread over the threads, and the coordinator sees one gateway', async (t) => {
  const devices = await Promise.all(Array.from({ length: 30 }, (_, i) => connected(`spread-${i}`)))
  const clients = await Promise.all(
    Array.from({ length: 10 }, (_, i) => mqtt.connectAsync(gateway().mqtt, { clientId: `spread-m-${i}` })),
  )
  const held = await counts()
  t.equal(held.length, 2)
  t.equal((held[0] as number) + (held[1] as number), 40)
  for (const count of held) t.ok(count >= 8, `${held} is no spread`)
  await eventually('all sessions in the status', 3000, async () => {
    const status = await product.get<{ gateways: { id: string; sessions: number }[] }>('/v1/status')
    t.same(
      status.gateways.map(({ id }) => id),
      ['gateway-1'],
    )
    return status.gateways[0]?.sessions === 40 ? true : undefined
  })
  for (const id of ['spread-3', 'spread-m-3'])
    t.match(await product.get(`/v1/sessions/${id}`), { device: id, gateway: 'gateway-1' })
  await Promise.all(devices.map(({ device }) => echoes(device, 1, 3)))
  for (const { device } of devices) device.close()
  for (const client of clients) client.end(true)
})

t.test('a publish reaches the subscribers of every thread once, whoever publishes', async (t) => {
  const devices = await Promise.all(Array.from({ length: 12 }, (_, i) => connected(`sub-${i}`)))
  const listener = await mqtt.connectAsync(gateway().mqtt, { clientId: 'sub-mqtt', protocolVersion: 5 })
  const heard: string[] = []
  listener.on('message', (_topic, payload) => heard.push(payload.toString()))
  // Not `news/#`: the worker's answers on TOPIC/reply would come too.
  await listener.subscribeAsync('news/+', { qos: 1 })
  for (const { device } of devices)
    device.send(encodeFrame({ type: FrameType.SUBSCRIBE, seq: 1, topic: 'news/+', payload: new Uint8Array(0) }))
  await Promise.all(devices.map(({ device }) => device.next(FrameType.ACK)))
  const speakers = await Promise.all(
    Array.from({ length: 4 }, (_, i) => mqtt.connectAsync(gateway().mqtt, { clientId: `say-${i}` })),
  )
  for (const [i, speaker] of speakers.entries()) await speaker.publishAsync('news/today', `${i}`, { qos: 1 })
  for (const { device } of devices) {
    const got: string[] = []
    for (let i = 0; i < 4; i++) got.push(Buffer.from((await device.next(FrameType.PUBLISH)).payload()).toString())
    t.same(got.sort(), ['0', '1', '2', '3'])
  }
  await eventually('the MQTT subscriber hears all', 3000, async () => (heard.length >= 4 ? true : undefined))
  t.same(heard.sort(), ['0', '1', '2', '3'])
  for (const { device } of devices) device.close()
  for (const client of [...speakers, listener]) await client.endAsync()
})

t.test('a session goes on at the other thread, and the connection before it ends', async (t) => {
  let now = await connected('roam')
  const { session } = now
  await echoes(now.device, 1, 5)
  let seq = 5
  await untilOtherThread(await holder(), async () => {
    const before = now.device
    now = await connected('roam', `&resume=${session}&ack=${seq}`)
    t.equal(now.session, session)
    t.equal(now.resumed, 'true')
    await before.closed
    await echoes(now.device, seq + 1, seq + 2)
    seq += 2
  })
  now.device.close()
})

t.test('a new session of the same device ends the old one, on whichever thread it is', async (t) => {
  let now = await connected('twice')
  await untilOtherThread(await holder(), async () => {
    const before = now.device
    now = await connected('twice')
    t.equal(now.resumed, 'false')
    await before.closed
  })
  now.device.close()
})

t.test('an MQTT client is taken over, and its session goes on, across threads', async () => {
  const connect = () =>
    mqtt.connectAsync(gateway().mqtt, {
      clientId: 'lasting',
      clean: false,
      protocolVersion: 5,
      properties: { sessionExpiryInterval: 60 },
      reconnectPeriod: 0,
    })
  let client = await connect()
  await client.subscribeAsync('for/lasting', { qos: 1 })
  const speaker = new PlainDevice(`${gateway().ws}?device=speaker`)
  await speaker.next(FrameType.WELCOME)
  speaker.close()
  let number = 0
  await untilOtherThread(await holder(), async () => {
    const before = client
    const ended = new Promise<void>((resolve) => before.once('close', () => resolve()))
    const heard: string[] = []
    // Every other time while it is away: what was said meanwhile waits for it.
    if (number % 2 === 1) await before.endAsync(true)
    client = await connect()
    client.on('message', (_topic, payload) => heard.push(payload.toString()))
    await ended
    number++
    await client.publishAsync('for/lasting', `${number}`, { qos: 1 })
    await eventually('its own message', 2000, async () => (heard.includes(`${number}`) ? true : undefined))
  })
  await client.endAsync(false, { properties: { sessionExpiryInterval: 0 } })
})

t.test(
  'kill -9 of a thread: its devices come back on another one, with nothing lost, and it is started again',
  async (t) => {
    const devices = await Promise.all(Array.from({ length: 16 }, (_, i) => connected(`killed-${i}`)))
    for (const { device } of devices) await echoes(device, 1, 3)
    const before = await threads()
    process.kill(before[0]?.pid ?? 0, 'SIGKILL')
    let lost = 0
    await eventually('the connections of the killed thread break', 2000, async () => {
      const broken = await Promise.all(devices.map(({ device }) => Promise.race([device.closed, undefined])))
      lost = broken.filter((code) => code !== undefined).length
      return lost === before[0]?.sessions ? true : undefined
    })
    for (const [i, old] of devices.entries()) {
      if ((await Promise.race([old.device.closed, undefined])) === undefined) continue
      const again = await connected(`killed-${i}`, `&resume=${old.session}&ack=3`)
      t.equal(again.resumed, 'true')
      t.equal(again.session, old.session)
      devices[i] = again
    }
    for (const { device } of devices) await echoes(device, 4, 6)
    await eventually('the thread is there again', 5000, async () => {
      const answer = await fetch(`${gateway().http}/readyz`)
      await answer.body?.cancel()
      return answer.ok && (await threads())[0]?.pid !== before[0]?.pid ? true : undefined
    })
    t.equal(
      product.gateways[0]?.pid,
      (await product.get<{ gateways: { pid: number }[] }>('/v1/status')).gateways[0]?.pid,
    )
    for (const { device } of devices) device.close()
  },
)

t.test('metrics of all threads come from any of them, told apart by a label', async (t) => {
  const text = await (await fetch(`${gateway().http}/metrics`)).text()
  for (const thread of ['0', '1'])
    t.match(text, new RegExp(`sluice_table_version\\{gateway="gateway-1",thread="${thread}"\\} [1-9]`))
  t.equal(text.match(/# TYPE sluice_sessions gauge/g)?.length, 1)
})

t.test('a port that is taken is said, although threads could share it', async (t) => {
  const { http, mqtt } = gateway()
  for (const [flag, url] of [
    ['--port', http],
    ['--mqtt-port', mqtt],
  ] as const) {
    const other = flag === '--port' ? '--mqtt-port' : '--port'
    const args = [
      'gateway',
      '--threads',
      '2',
      flag,
      new URL(url).port,
      other,
      '0',
      '--coordinator',
      product.coordinator,
    ]
    const { stderr, code } = await run(...args)
    t.not(code, 0)
    t.match(stderr, new RegExp(`port ${new URL(url).port} .* is taken: choose another with ${flag}`))
  }
})

t.test('it stops cleanly and leaves no thread', async (t) => {
  const pids = (await threads()).map(({ pid }) => pid)
  t.equal(await product.stop(), 0)
  for (const pid of pids) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
})

t.test(
  'two gateways with two threads each: fan-out reaches all four, a drain empties both threads of one',
  async (t) => {
    const fleet = await startProduct('--gateways', '2', '--workers', '1', '--threads', '2')
    t.teardown(() => fleet.stop())
    const urls = fleet.gateways.map(({ ws }) => ws)
    const devices = Array.from({ length: 16 }, (_, i) => new PlainDevice(`${urls[i % 2]}?device=all-${i}`))
    for (const device of devices) {
      await device.next(FrameType.WELCOME)
      device.send(encodeFrame({ type: FrameType.SUBSCRIBE, seq: 1, topic: 'all', payload: new Uint8Array(0) }))
      await device.next(FrameType.ACK)
    }
    for (const device of devices.slice(0, 4)) device.send(encodeFrame({ type: FrameType.PUBLISH, topic: 'all' }))
    for (const device of devices) for (let i = 0; i < 4; i++) await device.next(FrameType.PUBLISH)
    await fleet.post('/v1/gateways/gateway-1/drain', { windowMs: 100 })
    for (const [i, device] of devices.entries()) {
      if (i % 2 === 1) continue
      const { url } = (await device.next(FrameType.GOAWAY)).headers() as Record<string, string>
      t.equal(url, urls[1])
    }
    for (const device of devices) device.close()
  },
)

t.test('kill -9 of the process in front: its threads end with it, and it comes back on the same ports', async (t) => {
  const fleet = await startProduct('--gateways', '1', '--workers', '1', '--threads', '2')
  t.teardown(() => fleet.stop())
  const [before] = fleet.gateways
  const status = () =>
    fetch(`${before?.http}/v1/status`).then((answer) => answer.json() as Promise<{ threads: ThreadStatus[] }>)
  const pids = (await status()).threads.map(({ pid }) => pid)
  process.kill(before?.pid ?? 0, 'SIGKILL')
  await eventually('its threads are gone', 2000, async () => (pids.every(isGone) ? true : undefined))
  await eventually('it is back', 8000, async () => {
    const answer = await fetch(`${before?.http}/readyz`).catch(() => undefined)
    await answer?.body?.cancel()
    return answer?.ok === true ? true : undefined
  })
  t.notSame(
    (await status()).threads.map(({ pid }) => pid),
    pids,
  )
})

function isGone(pid: number): boolean {
  try {
    return !process.kill(pid, 0)
  } catch {
    return true
  }
}
