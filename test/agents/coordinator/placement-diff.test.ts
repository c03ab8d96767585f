import t from 'tap'
import { diffSlots, ownerOf } from '../../../agents/coordinator/placement.js'
import { UNOWNED } from '../../../proto/table.js'

t.test('diffSlots lists what changes hands by name, whatever the order of the members', async (t) => {
  const before = { members: ['a', 'b'], slots: Uint16Array.of(0, 0, 1, 1, UNOWNED) }
  const after = { members: ['b', 'c'], slots: Uint16Array.of(1, 0, 0, UNOWNED, 1) }
  const diff = diffSlots(before, after, Uint32Array.of(5, 7, 1, 2, 9))
  t.same(diff.moves, [
    { slot: 0, from: 'a', to: 'c' },
    { slot: 1, from: 'a', to: 'b' },
    { slot: 3, from: 'b', to: undefined },
    { slot: 4, from: undefined, to: 'c' },
  ])
  t.same(diff.perWorker, [
    { id: 'a', before: 2, after: 0, sessionsBefore: 12, sessionsAfter: 0 },
    { id: 'b', before: 2, after: 2, sessionsBefore: 3, sessionsAfter: 8 },
    { id: 'c', before: 0, after: 2, sessionsBefore: 0, sessionsAfter: 14 },
  ])
  t.equal(diff.sessionsMoved, 14, 'a slot that nobody owned moves no session')
})

t.test('diffSlots takes "no slots yet" on the one side, and no slots any more on the other', async (t) => {
  const placement = { members: ['a'], slots: Uint16Array.of(0, 0) }
  t.same(
    diffSlots(undefined, placement).moves.map(({ from, to }) => [from, to]),
    [
      [undefined, 'a'],
      [undefined, 'a'],
    ],
  )
  const none = { members: ['a'], slots: new Uint16Array(0) }
  t.same(
    diffSlots(placement, none).moves.map(({ from, to }) => [from, to]),
    [
      ['a', undefined],
      ['a', undefined],
    ],
  )
  t.equal(ownerOf(none, 0), undefined)
})
