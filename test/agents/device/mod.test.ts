import t, { type Test } from 'tap'
import { connect, type Device, type DeviceOptions, type DeviceState } from '../../../agents/device/mod.js'
import { FrameType } from '../../../proto/frame.js'
import { GatewayStandIn, type StandInSession } from './gateway-stand-in.js'

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

async function gateways(t: Test, count: number): Promise<GatewayStandIn[]> {
  const sessions = new Map<string, StandInSession>()
  const started = await Promise.all(
    Array.from({ length: count }, (_, i) => GatewayStandIn.start(`gw-${i + 1}`, sessions)),
  )
  for (const gateway of started) gateway.nearest = () => ({ gateways: started.map((one) => one.entry()) })
  t.teardown(() => Promise.all(started.map((gateway) => gateway.close())))
  return started
}

async function start(t: Test, options: Partial<DeviceOptions> & Pick<DeviceOptions, 'bootstrap'>): Promise<Device> {
  const limits = { backoffFirstMs: 10, backoffMostMs: 50, ...options.limits }
  const device = await connect({ device: 'd-1', timeoutMs: 5000, ...options, limits })
  t.teardown(() => device.close())
  return device
}

const reach = (device: Device, wanted: DeviceState): Promise<void> =>
  new Promise((resolve) => {
    if (device.state === wanted) resolve()
    const off = device.on('state', (state) => {
      if (state !== wanted) return
      off()
      resolve()
    })
  })

t.test('connect, send, request, publish and subscribe over one session', async (t) => {
  const [gateway] = (await gateways(t, 1)) as [GatewayStandIn]
  const device = await start(t, { bootstrap: gateway.http, token: 'secret', location: { lat: 48, lon: 11 } })
  t.equal(device.gateway, 'gw-1')
  t.equal(gateway.urls[0]?.search, '?device=d-1&token=secret')
  await device.send('fire and forget', { topic: 'a' })
  await device.send('acked', { topic: 'a', acked: true })
  t.match(gateway.received, [
    { type: FrameType.DATA, seq: 0, topic: 'a', text: 'fire and forget' },
    { type: FrameType.DATA, seq: 1, topic: 'a', text: 'acked' },
  ])
  const answers = await Promise.all(['x', 'y', 'z'].map((word) => device.request(word, { topic: 'rpc' })))
  t.same(answers.map(text), ['x', 'y', 'z'])
  const got: string[] = []
  const end = await device.subscribe('room/+', ({ topic, payload }) => got.push(`${topic}=${text(payload)}`))
  await device.publish('room/1', 'hello', { acked: true })
  await device.publish('other', 'not for us', { acked: true })
  await end()
  await device.publish('room/1', 'too late', { acked: true })
  t.same(got, ['room/1=hello'])
  t.equal(gateway.probes, 0, 'a single candidate is not measured')
})

t.test(
  'answers find their requests by id when they come out of order, and by topic when they carry no id',
  async (t) => {
    const [gateway] = (await gateways(t, 1)) as [GatewayStandIn]
    const device = await start(t, { bootstrap: gateway.ws })
    const held: (() => void)[] = []
    gateway.onFrame = (frame, send) => {
      const headers = frame.topic === 'ids' ? { 'request-id': frame.headers['request-id'] as string } : {}
      held.push(() => send({ topic: frame.topic, payload: Buffer.from(`re ${frame.text}`), headers }))
      if (held.length === 4) for (const i of [1, 0, 2, 3]) held[i]?.()
      return true
    }
    const all = [device.request('1', { topic: 'ids' }), device.request('2', { topic: 'ids' })]
    all.push(device.request('3', { topic: 'plain' }), device.request('4', { topic: 'plain' }))
    t.same((await Promise.all(all)).map(text), ['re 1', 're 2', 're 3', 're 4'])
    gateway.onFrame = () => true
    await t.rejects(device.request('nobody answers', { timeoutMs: 20 }), { code: 'unavailable', message: /20 ms/ })
  },
)

t.test('a lost connection is resumed: unacked frames go again in order, what was seen is dropped', async (t) => {
  const [gateway] = (await gateways(t, 1)) as [GatewayStandIn]
  const device = await start(t, { bootstrap: gateway.http })
  const got: string[] = []
  device.on('data', ({ payload }) => got.push(text(payload)))
  await device.send('1', { acked: true })
  gateway.confirms = false
  const late = ['2', '3'].map((word) => device.send(word, { acked: true }))
  await gateway.until(() => gateway.received.length >= 3)
  gateway.onFrame = () => false
  gateway.cut()
  await reach(device, 'connecting')
  const offline = device.send('4', { acked: true })
  gateway.confirms = true
  await Promise.all([...late, offline])
  await device.request('5')
  t.same(got, ['1', '2', '3', '4'], 'each answer once, in order')
  const resumed = gateway.urls[1] as URL
  t.equal(resumed.searchParams.get('resume'), device.session)
  t.ok(Number(resumed.searchParams.get('ack')) >= 1)
  const session = gateway.sessions.get(device.session) as StandInSession
  t.equal(session.taken, 5)
})

t.test('when the session is gone a new one counts from 1, with the unconfirmed frames first and marked', async (t) => {
  const [gateway] = (await gateways(t, 1)) as [GatewayStandIn]
  const device = await start(t, { bootstrap: gateway.http })
  await device.send('done', { acked: true })
  gateway.confirms = false
  const open = device.send('unconfirmed', { acked: true })
  await gateway.until(() => gateway.received.length === 2)
  gateway.sessions.clear()
  gateway.cut()
  gateway.confirms = true
  await open
  const last = gateway.received.at(-1)
  t.match(last, { seq: 1, text: 'unconfirmed', redelivered: true })
})

t.test('the nearest gateway by measured round trip is chosen, the next one when it dies', async (t) => {
  const [near, middle, far] = (await gateways(t, 3)) as [GatewayStandIn, GatewayStandIn, GatewayStandIn]
  near.delayMs = 1
  middle.delayMs = 40
  far.delayMs = 90
  const device = await start(t, { bootstrap: far.http })
  t.equal(device.gateway, 'gw-1')
  t.ok(near.probes >= 3 && far.probes >= 1)
  await device.subscribe('news', () => undefined)
  const { session } = device
  await near.close()
  await device.request('still there')
  t.equal(device.gateway, 'gw-2')
  t.equal(device.session, session, 'the same session, on another gateway')
  t.match(middle.received[0], { type: FrameType.SUBSCRIBE, topic: 'news', seq: 0 })
})

t.test('GOAWAY moves the device to the gateway that it names', async (t) => {
  const [first, second] = (await gateways(t, 2)) as [GatewayStandIn, GatewayStandIn]
  second.delayMs = 30
  const device = await start(t, { bootstrap: first.http })
  t.equal(device.gateway, 'gw-1')
  const told: unknown[] = []
  device.on('goaway', (details) => told.push(details))
  first.say({ type: FrameType.GOAWAY, headers: { message: 'draining', url: second.ws, retryAfterMs: '10' } })
  await first.until(() => first.sockets.size === 0)
  await device.request('hello')
  t.equal(device.gateway, 'gw-2')
  t.same(told, [{ code: 'draining', url: second.ws, retryAfterMs: 10 }])
})

t.test('reprobe moves only to a clearly better gateway', async (t) => {
  const [first, second] = (await gateways(t, 2)) as [GatewayStandIn, GatewayStandIn]
  second.delayMs = 60
  const device = await start(t, { bootstrap: first.http })
  t.equal(await device.reprobe(), false)
  first.delayMs = 120
  second.delayMs = 1
  t.equal(await device.reprobe(), true)
  await device.request('hello')
  t.equal(device.gateway, 'gw-2')
})

t.test('another connection of the same device ends this one for good', async (t) => {
  const [gateway] = (await gateways(t, 1)) as [GatewayStandIn]
  const device = await start(t, { bootstrap: gateway.http })
  const errors: string[] = []
  device.on('error', (error) => errors.push(error.code))
  for (const socket of gateway.sockets) socket.close(4028, 'taken over')
  await reach(device, 'closed')
  t.same(errors, ['taken_over'])
  await t.rejects(device.send('too late'), { code: 'unavailable' })
  t.equal(gateway.urls.length, 1)
})

t.test('a refused token is told at once, a gateway that is full is asked again', async (t) => {
  const [gateway] = (await gateways(t, 1)) as [GatewayStandIn]
  gateway.refuse = { status: 401, code: 'unauthorized' }
  const options = { bootstrap: gateway.http, device: 'd', limits: { backoffFirstMs: 5, backoffMostMs: 10 } }
  await t.rejects(connect(options), { code: 'unauthorized', message: 'refused: unauthorized' })
  gateway.refuse = { status: 503, code: 'overloaded' }
  await t.rejects(connect({ ...options, timeoutMs: 400 }), { code: 'unavailable', message: /overloaded/ })
  await t.rejects(connect({ ...options, bootstrap: 'nonsense' }), {
    code: 'bad_request',
    message: /bootstrap nonsense/,
  })
  await t.rejects(connect({ ...options, device: '' }), { code: 'bad_device_id' })
})

t.test('a full queue says so, and an overloaded gateway gets the frames again', async (t) => {
  const [gateway] = (await gateways(t, 1)) as [GatewayStandIn]
  const device = await start(t, { bootstrap: gateway.http, limits: { frames: 3 } })
  gateway.confirms = false
  const sends = ['1', '2', '3'].map((word) => device.send(word, { acked: true }))
  await t.rejects(device.send('4', { acked: true }), { code: 'overloaded' })
  await gateway.until(() => gateway.received.length === 3)
  gateway.confirms = true
  const { session } = device
  const kept = gateway.sessions.get(session) as StandInSession
  kept.taken = 1
  gateway.say({ type: FrameType.ERROR, headers: { code: 'overloaded', message: 'full', retryAfterMs: '5', seq: '2' } })
  await Promise.all(sends)
  t.match(gateway.received.slice(3), [
    { text: '1' },
    { text: '2', redelivered: true },
    { text: '3', redelivered: true },
  ])
  const gone = device.send('never confirmed', { acked: true })
  device.close()
  await gone.catch(() => undefined)
  t.equal(device.state, 'closed')
})
