import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LastGoodTable } from '../../../gateway/control/last-good-table.js'
import { decodeTableFile } from '../../../gateway/control/table-file.js'
import { EMPTY_TABLE, type RoutingTable } from '../../../proto/table.js'
import { ManualClock } from '../../manual-clock.js'

const HOUR = 3_600_000

const table = (version: number): RoutingTable => ({ ...EMPTY_TABLE, version })

/** A gateway's copy of its table, on a clock and with a log of the test's own. Each `start` is a start of the gateway. */
function bench(maxAgeMs?: number) {
  const clock = new ManualClock()
  const path = join(mkdtempSync(join(tmpdir(), 'sluice-')), 'gateway-1.table')
  const said: string[] = []
  const say = (level: string) => (fields: object, message: string) =>
    said.push(`${level} ${message} ${JSON.stringify(fields)}`)
  const log = { info: say('info'), warn: say('warn'), error: say('error') }
  return {
    clock,
    path,
    said,
    async start() {
      const last = new LastGoodTable({ path, clock, log, ...(maxAgeMs === undefined ? {} : { maxAgeMs }) })
      const used: RoutingTable[] = []
      await last.load((table) => used.push(table))
      return { last, used }
    },
  }
}

/** A gateway that had its coordinator until now. */
async function stopped(maxAgeMs?: number) {
  const it = bench(maxAgeMs)
  const { last } = await it.start()
  last.connected(true)
  last.keep(table(7))
  await last.close()
  return it
}

t.test('a start takes a table up to the maximum age, and refuses an older one with both ages', async (t) => {
  const it = await stopped(24 * HOUR)
  it.clock.advance(24 * HOUR)
  const young = await it.start()
  t.same(young.used, [table(7)])
  t.equal(young.last.refusal, undefined)
  it.clock.advance(2 * HOUR)
  const old = await it.start()
  t.same(old.used, [])
  const reason = `${it.path}: no coordinator has confirmed it for 26 h, and --max-table-age is 24 h`
  t.equal(old.last.refusal, reason)
  t.ok(it.said.at(-1)?.startsWith('error the saved routing table is refused; waiting for the coordinator'))
  t.ok(it.said.at(-1)?.includes(reason))
})

t.test('without a maximum any age is taken, and one from the future always is', async (t) => {
  const it = await stopped()
  it.clock.advance(10_000 * HOUR)
  t.same((await it.start()).used, [table(7)])
  const back = await stopped(HOUR)
  back.clock.wall = () => 0
  t.same((await back.start()).used, [table(7)])
})

t.test('starting from disk makes a table no younger', async (t) => {
  const it = await stopped(24 * HOUR)
  for (let hours = 0; hours < 24; hours += 8) {
    it.clock.advance(8 * HOUR)
    const { last, used } = await it.start()
    t.equal(used.length, 1)
    last.connected(false)
    await last.close()
  }
  it.clock.advance(1)
  t.same((await it.start()).used, [])
})

t.test(
  'a table that does not change stays young while the coordinator is there, up to the moment it goes',
  async (t) => {
    const it = bench(24 * HOUR)
    const { last } = await it.start()
    last.connected(true)
    last.keep(table(7))
    for (let beats = 0; beats < 30 * 24; beats++) {
      it.clock.advance(HOUR)
      last.confirm()
    }
    it.clock.advance(1234)
    last.connected(false)
    const lostAt = it.clock.wall()
    it.clock.advance(23 * HOUR)
    // Nobody is there to stand behind it now.
    await last.close()
    t.equal(decodeTableFile(readFileSync(it.path)).savedAt, lostAt)
    t.same((await it.start()).used, [table(7)])
  },
)

t.test('stamps are written at most every tenth of the maximum age', async (t) => {
  const it = bench(100_000)
  const { last } = await it.start()
  last.connected(true)
  last.keep(table(7))
  const savedAt = async () => {
    await last.close()
    return decodeTableFile(readFileSync(it.path)).savedAt
  }
  const keptAt = it.clock.wall()
  it.clock.advance(9999)
  last.confirm()
  last.connected(false)
  t.equal(await savedAt(), keptAt + 9999, 'the end of the connection stamps')
  last.confirm()
  t.equal(await savedAt(), keptAt + 9999)
  it.clock.advance(10_000)
  last.confirm()
  t.equal(await savedAt(), keptAt + 19_999)
})

t.test('a gateway that runs goes on with a table that passes the age, and warns once for each absence', async (t) => {
  const it = bench(24 * HOUR)
  const { last } = await it.start()
  const warnings = () => it.said.filter((line) => line.startsWith('warn')).length
  last.connected(true)
  last.keep(table(7))
  it.clock.advance(1000 * HOUR)
  t.equal(warnings(), 0, 'the coordinator is there')
  last.connected(false)
  it.clock.advance(24 * HOUR - 1)
  t.equal(warnings(), 0)
  it.clock.advance(1)
  t.equal(warnings(), 1)
  t.match(it.said.at(-1), /no coordinator for 24 h, which is --max-table-age: this gateway goes on/)
  it.clock.advance(1000 * HOUR)
  t.equal(warnings(), 1)
  last.connected(true)
  last.connected(false)
  it.clock.advance(24 * HOUR)
  t.equal(warnings(), 2)
  await last.close()
})

t.test('an age beyond what a timer takes warns at its time too, and so does a start from disk', async (t) => {
  const it = await stopped(90 * 24 * HOUR)
  it.clock.advance(30 * 24 * HOUR)
  await it.start()
  it.said.length = 0
  it.clock.advance(60 * 24 * HOUR - 1)
  t.same(it.said, [])
  it.clock.advance(1)
  t.equal(it.said.length, 1)
})

t.test(
  'a broken file, or a table that cannot be used, is refused with the reason until there is a new one',
  async (t) => {
    const it = await stopped()
    const bytes = readFileSync(it.path)
    writeFileSync(it.path, bytes.subarray(0, bytes.length >> 1))
    const { last, used } = await it.start()
    t.same(used, [])
    t.match(last.refusal, new RegExp(`^${it.path}: its checksum does not hold`))
    last.connected(true)
    last.keep(table(8))
    t.equal(last.refusal, undefined)
    await last.close()
    const picky = new LastGoodTable({ path: it.path, clock: it.clock, log: { info() {}, warn() {}, error() {} } })
    await picky.load(() => {
      throw new Error('a regular expression of it is not understood')
    })
    t.equal(picky.refusal, 'a regular expression of it is not understood')
  },
)
