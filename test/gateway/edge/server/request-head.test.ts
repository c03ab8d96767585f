import { equal } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { OwnedRequest } from '../../../../gateway/edge/server/request-head.js'

const parameter = (search: string, name: string) => new OwnedRequest('GET', '/', search, {}).parameter(name)

t.test('parameters of a query, as a device writes it', async (t) => {
  t.equal(parameter('device=d-1&token=abc', 'device'), 'd-1')
  t.equal(parameter('device=d-1&token=abc', 'token'), 'abc')
  t.equal(parameter('?device=d-1', 'device'), 'd-1')
  t.equal(parameter('device=a%20b+c', 'device'), 'a b c')
  t.equal(parameter('device', 'device'), '')
  t.equal(parameter('devices=1&device=2', 'device'), '2', 'not what only begins with the name')
  t.equal(parameter('token=abc', 'device'), null)
  t.equal(parameter('', 'device'), null)
})

t.test('whatever the query is, the answer is that of the URL Standard', async () => {
  const piece = fc.oneof(
    fc.constantFrom('a', 'b', 'ab', '=', '&', '?', '%', '+', '%41', '%zz', '', '\ud800', '\u00e9', '#', ' '),
    fc.string({ unit: 'binary', maxLength: 3 }),
  )
  const search = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))
  fc.assert(
    fc.property(search, fc.constantFrom('a', 'b', 'ab', ''), (query, name) => {
      equal(parameter(query, name), new URLSearchParams(query).get(name))
    }),
    { numRuns: 2000 },
  )
})
