import t from 'tap'
import {
  decodeBusMessage,
  decodeGroupNews,
  encodeBusMessage,
  encodeGroupNews,
  GroupWord,
} from '../../../gateway/fanout/nats-wire.js'
import { seededRandom } from '../../seeded-random.js'
import { message } from './fixtures.js'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

t.test('golden vectors', async (t) => {
  const x = message('a', 'x', { at: 1 })
  t.equal(hex(encodeBusMessage(300, 'g/1', [], x)), '01ac0203672f3100' + '01000101610078')
  t.equal(hex(encodeBusMessage(1, 'g', ['$share/s/a'], x)), '01010167010a' + '2473686172652f732f61' + '01000101610078')
  const news = { kind: GroupWord.CHANGE, gateway: 'g', version: 2, members: [['$share/s/a', 3]] as const }
  t.equal(hex(encodeGroupNews(news)), '0102016702' + '030a2473686172652f732f61')
  const back = { kind: GroupWord.BACK, gateway: 'g', version: 300, members: [] }
  t.equal(hex(encodeGroupNews(back)), '01060167ac02')
})

t.test('both come back as they were', async (t) => {
  const back = decodeBusMessage(encodeBusMessage(7, 'g/x', ['$share/s/a', '$share/t/+'], message('a', 'x', { qos: 1 })))
  t.match(back, { seq: 7, sender: 'g/x', shared: ['$share/s/a', '$share/t/+'], message: { topic: 'a', qos: 1 } })
  const news = { kind: GroupWord.ALL, gateway: 'g', version: 0, members: [['$share/s/a', 3] as [string, number]] }
  t.same(decodeGroupNews(encodeGroupNews(news)), news)
})

t.test('hostile bytes end in a RangeError or TypeError', async (t) => {
  const random = seededRandom(3)
  const seeds = [
    encodeBusMessage(1, 'g', ['$share/s/a'], message('a/b', 'payload')),
    encodeGroupNews({ kind: 1, gateway: 'g', version: 9, members: [['$share/s/a', 3]] }),
  ]
  let refused = 0
  for (let round = 0; round < 20_000; round++) {
    const seed = seeds[round % 2] as Uint8Array
    const bytes = seed.slice(0, 1 + Math.floor(random() * seed.length))
    for (let i = 0; i < 2; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
    try {
      if (round % 2 === 0) decodeBusMessage(bytes)
      else decodeGroupNews(bytes)
    } catch (error) {
      refused++
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error
    }
  }
  t.ok(refused > 1000, `${refused} refused`)
})
