import { createServer, type Server, Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type LinkOwner, WorkerLink } from '../../../gateway/link/worker-link.js'
import { createSystemClock } from '../../../gateway/system-clock.js'
import type { BindingEvents, WorkerPort } from '../../../gateway/worker-port.js'
import { encodeFrame, FrameView } from '../../../proto/frame.js'
import { type Attach, LINK_PROTOCOL, LinkKind, RecordBatch, RecordReader } from '../../../proto/link.js'
import { packLinkControl, readAttach, readHello } from '../../../proto/link-control.js'

interface Heard {
  kind: number
  number: number
  body: Buffer
}

/** A worker written by hand: says what the test tells it to, and keeps what it hears. */
class BareWorker {
  readonly heard: Heard[] = []
  #sockets: Socket[] = []
  #waiting: (() => void)[] = []
  readonly #server: Server
  /** False: it is hung, and leaves pings unanswered. */
  answers = true

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(greet: boolean): Promise<BareWorker> {
    const server = createServer()
    const worker = new BareWorker(server)
    server.on('connection', (socket) => worker.#accept(socket, greet))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return worker
  }

  get address(): string {
    const address = this.#server.address()
    return `tcp://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  }

  say(kind: number, number: number, body: Uint8Array): void {
    const batch = new RecordBatch(256)
    batch.add(kind, number, body)
    this.#sockets.at(-1)?.write(Buffer.from(batch.take()))
  }

  /** Resolves when a record of this kind was heard. */
  async hear(kind: number): Promise<Heard> {
    for (;;) {
      const found = this.heard.find((record) => record.kind === kind)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  raw(bytes: Uint8Array): void {
    this.#sockets.at(-1)?.write(bytes)
  }

  drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  get connections(): number {
    return this.#sockets.length
  }

  async close(): Promise<void> {
    this.drop()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #accept(socket: Socket, greet: boolean): void {
    this.#sockets.push(socket)
    socket.on('error', () => {})
    const reader = new RecordReader((kind, number, bytes, start, end) => {
      this.heard.push({ kind, number, body: Buffer.from(bytes.subarray(start, end)) })
      if (kind === LinkKind.PING && this.answers) this.say(LinkKind.PONG, 0, bytes.slice(start, end))
      for (const wake of this.#waiting.splice(0)) wake()
    })
    socket.on('data', (chunk) => reader.push(chunk))
    if (greet) this.say(LinkKind.HELLO, 0, hello('w1'))
  }
}

function hello(id: string, protocol = LINK_PROTOCOL): Uint8Array {
  return packLinkControl({ protocol, id, role: 'worker', pool: 'default', sessions: 3 })
}

/** The gateway's side: remembers what the link told. */
class Owner implements LinkOwner {
  readonly gateway = 'g1'
  readonly token = 'secret'
  readonly clock = createSystemClock()
  readonly tls = undefined
  readonly turn = (fn: () => void): void => void setImmediate(fn)
  readonly limits = { pingMs: 20, unanswered: 3, dialMs: 500, backoffMinMs: 5, backoffMaxMs: 20, maxBuffered: 1 << 20 }
  readonly told: string[] = []
  #waiting: (() => void)[] = []

  linkUp(): void {
    this.#tell('up')
  }

  linkDown(_link: WorkerLink, hung: boolean, reason: string): void {
    this.#tell(hung ? 'hung' : `down: ${reason}`)
  }

  load(_link: WorkerLink, sessions: number): void {
    this.#tell(`load ${sessions}`)
  }

  held(): void {}
  roundTrip(): void {}

  briefly(read: () => void): void {
    read()
    this.#tell('read briefly')
  }

  workerPublish(_link: WorkerLink, bytes: Uint8Array, start: number, end: number): void {
    const view = new FrameView()
    view.read(bytes, start, end)
    this.#tell(`publish ${view.topic()}`)
  }

  async until(prefix: string): Promise<string> {
    for (;;) {
      const found = this.told.find((line) => line.startsWith(prefix))
      if (found !== undefined) return found
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  #tell(line: string): void {
    this.told.push(line)
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

class Events implements BindingEvents {
  readonly told: string[] = []
  #waiting: (() => void)[] = []

  attached(_port: WorkerPort, epoch: number): void {
    this.#tell(`attached ${epoch}`)
  }

  refused(_port: WorkerPort, { code }: { code: string }): void {
    this.#tell(`refused ${code}`)
  }

  detached(_port: WorkerPort, { acked, state }: { acked: number; state?: Uint8Array }): void {
    this.#tell(`detached ${acked} ${state?.length}`)
  }

  closedByWorker(_port: WorkerPort, { code }: { code: string }): void {
    this.#tell(`closed ${code}`)
  }

  downlink(_port: WorkerPort, bytes: Uint8Array, start: number, end: number): void {
    const view = new FrameView()
    view.read(bytes, start, end)
    this.#tell(`frame ${view.topic()}`)
  }

  workerAcked(_port: WorkerPort, seq: number): void {
    this.#tell(`acked ${seq}`)
  }

  portLost(): void {
    this.#tell('lost')
  }

  async until(line: string): Promise<void> {
    while (!this.told.includes(line)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #tell(line: string): void {
    this.told.push(line)
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

const ATTACH: Attach = {
  session: 's',
  device: 'd',
  protocol: 'websocket',
  attributes: {},
  epoch: 1,
  table: 1,
  acked: 0,
  redelivered: false,
}

async function linked(t: Test, pingMs?: number): Promise<{ worker: BareWorker; owner: Owner; link: WorkerLink }> {
  const worker = await BareWorker.start(true)
  const owner = new Owner()
  if (pingMs !== undefined) owner.limits.pingMs = pingMs
  const link = new WorkerLink('w1', worker.address, owner)
  t.teardown(async () => {
    link.end('the test is over')
    await worker.close()
  })
  await owner.until('up')
  return { worker, owner, link }
}

t.test('a link says HELLO with the fleet token and is up when the worker answers', async (t) => {
  const { worker, owner, link } = await linked(t)
  const said = readHello((await worker.hear(LinkKind.HELLO)).body)
  t.match(said, { id: 'g1', role: 'gateway', token: 'secret' })
  t.ok(link.up)
  t.equal(await owner.until('load'), 'load 3')
})

t.test('records reach the binding that holds their number, and nobody after it was forgotten', async (t) => {
  const { worker, link } = await linked(t)
  const events = new Events()
  const number = link.attach(events, ATTACH)
  t.match(readAttach((await worker.hear(LinkKind.ATTACH)).body), { session: 's', epoch: 1 })
  worker.say(LinkKind.ATTACHED, number, packLinkControl({ epoch: 1 }))
  worker.say(LinkKind.FRAME, number, encodeFrame({ topic: 'a' }))
  worker.say(LinkKind.ACK, number, Uint8Array.of(7))
  worker.say(LinkKind.DETACHED, number, packLinkControl({ epoch: 1, acked: 7, sent: 0, state: Uint8Array.of(1, 2) }))
  await events.until('detached 7 2')
  t.same(events.told, ['attached 1', 'frame a', 'acked 7', 'detached 7 2'])
  link.forget(number)
  worker.say(LinkKind.FRAME, number, encodeFrame({ topic: 'late' }))
  const other = new Events()
  const next = link.attach(other, ATTACH)
  t.not(next, number, 'another number, at another or the same place')
  worker.say(LinkKind.REFUSED, next, packLinkControl({ epoch: 4, code: 'stale_epoch', message: '' }))
  await other.until('refused stale_epoch')
  t.notOk(events.told.includes('frame late'))
})

t.test('a short chunk is read by its owner', async (t) => {
  const { worker, owner, link } = await linked(t)
  const events = new Events()
  const number = link.attach(events, ATTACH)
  await worker.hear(LinkKind.ATTACH)
  owner.told.length = 0
  const read = owner.until('read briefly')
  worker.say(LinkKind.FRAME, number, encodeFrame({ topic: 'a' }))
  await read
  t.same(events.told, ['frame a'])
})

t.test('everything written in one turn leaves in one piece, in order', async (t) => {
  const { worker, link } = await linked(t)
  const number = link.attach(new Events(), ATTACH)
  const big = encodeFrame({ topic: 'big', payload: new Uint8Array(200_000) })
  link.frame(number, encodeFrame({ topic: 'one' }), 0, encodeFrame({ topic: 'one' }).length)
  link.frameParts(number, 1, 'zwei/ü', Uint8Array.of(1, 2, 3))
  link.frameAgain(number, encodeFrame({ seq: 3, topic: 'three' }))
  link.frame(number, big, 0, big.length)
  link.close(number, { code: 'closed' })
  await worker.hear(LinkKind.CLOSE)
  const view = new FrameView()
  const frames = worker.heard
    .filter(({ kind }) => kind === LinkKind.FRAME)
    .map(({ body }) => {
      t.ok(view.read(body))
      return [view.type, view.topic(), view.payload().length, view.redelivered]
    })
  t.same(frames, [
    [0, 'one', 0, false],
    [1, 'zwei/ü', 3, false],
    [0, 'three', 0, true],
    [0, 'big', 200_000, false],
  ])
})

t.test(
  'where turns bring a few frames the first leaves at once, where they bring many all leave together',
  async (t) => {
    // A ping would be a turn of its own.
    const { worker, link } = await linked(t, 3_600_000)
    const number = link.attach(new Events(), ATTACH)
    await worker.hear(LinkKind.ATTACH)
    const calls = t.capture(Socket.prototype, 'write', Socket.prototype.write)
    const mine = (bytes: unknown) => bytes instanceof Uint8Array && Buffer.from(bytes).includes('mine')
    const written = () => calls().filter(({ args }) => mine(args[0])).length
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    const frame = encodeFrame({ topic: 'mine' })
    const send = (count: number) => {
      for (let i = 0; i < count; i++) link.frame(number, frame, 0, frame.length)
    }
    send(20)
    t.equal(written(), 0)
    await turn()
    t.equal(written(), 1, 'a busy turn: one write')
    send(1)
    t.equal(written(), 0, 'so the next one may be busy, too')
    await turn()
    t.equal(written(), 1)
    for (let i = 0; i < 30; i++) {
      send(1)
      t.equal(written(), 1, 'a calm one')
      await turn()
    }
    t.equal(written(), 0, 'nothing was left')
    send(100)
    const early = written()
    t.ok(early >= 1 && early <= 9, `${early} writes until it is seen that this turn is busy`)
    await turn()
    t.equal(written(), 1)
    send(20)
    await turn()
    t.ok(written() <= 2, 'the next one is looked at')
    send(20)
    t.equal(written(), 0, 'and those after it are taken for busy')
    await turn()
    await worker.hear(LinkKind.FRAME)
    while (worker.heard.filter(({ kind }) => kind === LinkKind.FRAME).length < 191) await turn()
  },
)

t.test(
  'turns of the same size settle, wherever they began: in one write each, or a write for each frame',
  async (t) => {
    const { worker, link } = await linked(t, 3_600_000)
    const number = link.attach(new Events(), ATTACH)
    await worker.hear(LinkKind.ATTACH)
    const calls = t.capture(Socket.prototype, 'write', Socket.prototype.write)
    const written = () => calls().filter(({ args }) => Buffer.from(args[0] as Uint8Array).includes('mine')).length
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    const frame = encodeFrame({ topic: 'mine' })
    const turns = async (count: number, frames: number) => {
      for (let i = 0; i < count; i++) {
        for (let j = 0; j < frames; j++) link.frame(number, frame, 0, frame.length)
        await turn()
      }
    }
    for (let frames = 1; frames <= 16; frames++) {
      for (let phase = 0; phase < 9; phase++) {
        await turns(30, 1)
        await turns(phase, 1)
        await turns(20, frames)
        written()
        await turns(20, frames)
        const perTurn = written() / 20
        if (frames > 4) t.equal(perTurn, 1, `${frames} frames, begun in phase ${phase}`)
        else t.ok(perTurn <= frames + 1, `${frames} frames, begun in phase ${phase}: ${perTurn}`)
      }
    }
  },
)

t.test('a broken connection loses every binding and is dialed again', async (t) => {
  const { worker, owner, link } = await linked(t)
  const events = new Events()
  link.attach(events, ATTACH)
  await worker.hear(LinkKind.ATTACH)
  worker.drop()
  await events.until('lost')
  t.match(await owner.until('down'), 'closed the connection')
  while (owner.told.filter((line) => line === 'up').length < 2) await new Promise((resolve) => setImmediate(resolve))
  t.ok(link.up)
  t.equal(link.bindings, 0)
})

t.test('a worker that answers no ping is hung; the gateway counts pings, not its own clock', async (t) => {
  const { worker, owner } = await linked(t)
  worker.answers = false
  t.equal(await owner.until('hung'), 'hung')
})

t.test('a stranger at the address is refused by name', async (t) => {
  for (const [greeting, reason] of [
    [hello('w2'), 'is worker w2, not w1'],
    [hello('w1', 99), 'speaks link protocol 99'],
  ] as const) {
    const worker = await BareWorker.start(false)
    const owner = new Owner()
    const link = new WorkerLink('w1', worker.address, owner)
    await worker.hear(LinkKind.HELLO)
    worker.say(LinkKind.HELLO, 0, greeting)
    while (worker.connections < 2) await new Promise((resolve) => setImmediate(resolve))
    t.notOk(link.up, reason)
    link.end('done')
    await worker.close()
  }
})

t.test('garbage ends the connection, not the gateway', async (t) => {
  const { worker, owner } = await linked(t)
  worker.raw(Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'))
  t.match(await owner.until('down'), 'link record of')
})

t.test('a PUBLISH of the worker reaches the fan-out', async (t) => {
  const { worker, owner } = await linked(t)
  worker.say(LinkKind.PUBLISH, 0, encodeFrame({ type: 1, topic: 'news' }))
  t.equal(await owner.until('publish'), 'publish news')
})
