import fc from 'fast-check'
import t from 'tap'
import { SILENT_LOG } from '../../../../agents/coordinator/clock.js'
import {
  MAX_MEMBERS,
  memberProblem,
  readMember,
  tidyMembers,
} from '../../../../agents/coordinator/discovery/discovery.js'
import { SluiceError } from '../../../../proto/errors.js'

t.test('a member is read from what people write into catalogs, numbers as texts too', async (t) => {
  t.same(readMember({ link: 'tcp://h:1', pool: 'p', weight: '2.5', priority: 1, note: 'x' }), {
    link: 'tcp://h:1',
    pool: 'p',
    weight: 2.5,
    priority: 1,
  })
  t.same(readMember({ link: 'unix:/run/w.sock', pool: undefined }), { link: 'unix:/run/w.sock' })
})

t.test('what cannot be dialled or stand in a table is refused, saying why', async (t) => {
  const cases: [object, RegExp][] = [
    [{}, /has no link/],
    [{ link: 7 }, /has no link/],
    [{ link: 'http://h:1' }, /its link .* is none of/],
    [{ link: 'tcp://h:0' }, /its link/],
    [{ link: 'tcp://h:1', pool: 5 }, /pool is not a text/],
    [{ link: 'tcp://h:1', pool: '' }, /its pool/],
    [{ link: 'tcp://h:1', pool: 'a\nb' }, /its pool/],
    [{ link: 'tcp://h:1', weight: 'much' }, /weight is not a number/],
    [{ link: 'tcp://h:1', weight: '' }, /weight is not a number/],
    [{ link: 'tcp://h:1', weight: -1 }, /weight must be/],
    [{ link: 'tcp://h:1', weight: 1001 }, /weight must be/],
    [{ link: 'tcp://h:1', priority: 65_536 }, /priority must be/],
  ]
  for (const [fields, why] of cases) {
    t.throws(
      () => readMember(fields as Record<string, unknown>),
      { code: 'bad_request', message: why },
      JSON.stringify(fields),
    )
  }
})

t.test('whatever the fields are, there is a member that is right or a SluiceError', async () => {
  const value = fc.oneof(fc.anything(), fc.constantFrom('tcp://h:1', 'unix:/a', 'p', '1', 5))
  fc.assert(
    fc.property(fc.record({ link: value, pool: value, weight: value, priority: value }), (fields) => {
      try {
        return memberProblem(readMember(fields)) === undefined
      } catch (error) {
        return error instanceof SluiceError
      }
    }),
  )
})

t.test('a list has each link once, in one order, and an end', async (t) => {
  const tidy = tidyMembers([{ link: 'b' }, { link: 'a', weight: 1 }, { link: 'a', weight: 2 }], 'x', SILENT_LOG)
  t.same(tidy, [{ link: 'a', weight: 1 }, { link: 'b' }])
  const many = Array.from({ length: MAX_MEMBERS + 5 }, (_, i) => ({ link: `unix:/${i}` }))
  t.equal(tidyMembers(many, 'x', SILENT_LOG).length, MAX_MEMBERS)
})
