import t from 'tap'
import { NatsQuestions } from '../../../gateway/fanout/nats-questions.js'
import { ManualClock } from '../../manual-clock.js'
import { seededRandom } from '../../seeded-random.js'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function start(others: number) {
  const clock = new ManualClock()
  const said: [string, string][] = []
  const questions = new NatsQuestions({
    id: 'g1',
    clock,
    others: () => others,
    answer: (question) => Uint8Array.of(...question, 9),
    publish: (subject, data) => said.push([subject, hex(data)]),
  })
  return { clock, said, questions }
}

t.test('golden vectors of a question and of an answer', async (t) => {
  const { questions, said } = start(1)
  void questions.ask(Uint8Array.of(5), 100)
  questions.heardQuestion(Buffer.from('0107' + '026732' + '05', 'hex'))
  t.same(said, [
    ['ask', '0101026731' + '05'],
    ['re.g2', '0107026731' + '0509'],
  ])
})

t.test('whoever does not answer in time is not waited for, and nobody counts twice', async (t) => {
  const { questions, clock } = start(2)
  const asked = questions.ask(Uint8Array.of(5), 100)
  for (let i = 0; i < 3; i++) questions.heardAnswer(Buffer.from('0101' + '026732' + '0a', 'hex'))
  clock.advance(100)
  t.same(await asked, [Uint8Array.of(10)])
  questions.heardAnswer(Buffer.from('0101' + '026733' + '0a', 'hex'))
})

t.test('with nobody there it is not asked', async (t) => {
  t.equal(start(0).questions.ask(Uint8Array.of(5), 100), undefined)
})

t.test('hostile bytes end in a RangeError or TypeError', async (t) => {
  const random = seededRandom(11)
  const { questions } = start(1)
  let refused = 0
  for (let round = 0; round < 5000; round++) {
    const bytes = Uint8Array.from({ length: 1 + Math.floor(random() * 12) }, () => Math.floor(random() * 256))
    if (random() < 0.8) bytes[0] = 1
    try {
      if (round % 2 === 0) questions.heardAnswer(bytes)
      else questions.heardQuestion(bytes)
    } catch (error) {
      refused++
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error
    }
  }
  t.ok(refused > 1000, `${refused} refused`)
})
