/**
 * Movement and balance of `place` beside the three hashing schemes that people know: a ketama ring, Maglev and weighted
 * rendezvous. Prints a table in Markdown. Run: `npm run build && node dist/test/bench/placement.js`.
 */

import { diffSlots, type Member, type Placement, place } from '../../agents/coordinator/placement.js'
import { hash32, SLOTS } from '../../proto/hash.js'

/** Owner of every key as an index into the members. */
type Scheme = (members: readonly Member[], before: Placement | undefined) => Placement

const ids = (members: readonly Member[]): string[] => members.map(({ id }) => id)

/** Ketama: 160 points on a ring for each unit of weight; a key belongs to the next point. */
const ketama: Scheme = (members) => {
  const points = members.flatMap(({ id, weight }, owner) =>
    Array.from({ length: Math.round(160 * weight) }, (_, k) => ({ at: hash32(`${id}-${k}`), owner })),
  )
  points.sort((a, b) => a.at - b.at)
  const slots = Uint16Array.from({ length: SLOTS }, (_, key) => {
    const hash = hash32(`key-${key}`)
    let low = 0
    let high = points.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((points[middle]?.at ?? 0) < hash) low = middle + 1
      else high = middle
    }
    return points[low % points.length]?.owner ?? 0
  })
  return { members: ids(members), slots }
}

/** A prime about a hundred times the number of workers, as the Maglev paper advises. */
const MAGLEV_SIZE = 65537

/** Maglev (Eisenbud et al., NSDI 2016): members take turns, by weight, to claim the next free entry of their permutation. */
const maglev: Scheme = (members) => {
  const table = new Int32Array(MAGLEV_SIZE).fill(-1)
  const turns = members.map(({ id, weight }) => ({
    at: hash32(id, 1) % MAGLEV_SIZE,
    skip: 1 + (hash32(id, 2) % (MAGLEV_SIZE - 1)),
    weight,
    credit: 0,
  }))
  const most = Math.max(...members.map(({ weight }) => weight))
  for (let filled = 0; filled < MAGLEV_SIZE; ) {
    for (const [owner, turn] of turns.entries()) {
      turn.credit += turn.weight / most
      if (turn.credit < 1 || filled === MAGLEV_SIZE) continue
      turn.credit -= 1
      while (table[turn.at] !== -1) turn.at = (turn.at + turn.skip) % MAGLEV_SIZE
      table[turn.at] = owner
      filled++
    }
  }
  const slots = Uint16Array.from({ length: SLOTS }, (_, key) => table[hash32(`key-${key}`) % MAGLEV_SIZE] ?? 0)
  return { members: ids(members), slots }
}

/** Weighted rendezvous: the best of all members' draws. */
const rendezvous: Scheme = (members) => {
  const slots = Uint16Array.from({ length: SLOTS }, (_, key) => {
    const salt = hash32(`key-${key}`)
    let best = 0
    let soonest = Number.POSITIVE_INFINITY
    for (const [owner, { id, weight }] of members.entries()) {
      const wait = -Math.log((hash32(id, salt) + 0.5) / 2 ** 32) / weight
      if (wait >= soonest) continue
      soonest = wait
      best = owner
    }
    return best
  })
  return { members: ids(members), slots }
}

const SCHEMES: readonly (readonly [name: string, scheme: Scheme])[] = [
  ['Sluice place', (members, before) => place(before, members)],
  ['rendezvous', rendezvous],
  ['Maglev', maglev],
  ['ketama ring', ketama],
]

const fleet = (count: number, weightOf = (_: number): number => 1): Member[] =>
  Array.from({ length: count }, (_, i) => ({ id: `worker-${String(i).padStart(3, '0')}`, weight: weightOf(i) }))

const CHANGES: readonly (readonly [name: string, before: Member[], after: Member[]])[] = [
  ['3 to 4 workers', fleet(3), fleet(4)],
  ['100 to 101 workers', fleet(100), fleet(101)],
  ['100 to 99 workers', fleet(100), fleet(99)],
  ['100 to 90 workers', fleet(100), fleet(90)],
  ['weight 1 to 2 for 1 of 100', fleet(100), fleet(100, (i) => (i === 50 ? 2 : 1))],
  ['weights 1, 2, 4: 60 to 61', fleet(60, (i) => 2 ** (i % 3)), fleet(61, (i) => 2 ** (i % 3))],
]

/** Share of all keys that any scheme must move to go from one set of fair shares to the other. */
function leastMoved(before: readonly Member[], after: readonly Member[]): number {
  const total = (members: readonly Member[]) => members.reduce((sum, { weight }) => sum + weight, 0)
  const now = new Map(after.map(({ id, weight }) => [id, weight / total(after)]))
  return before.reduce((sum, { id, weight }) => sum + Math.max(0, weight / total(before) - (now.get(id) ?? 0)), 0)
}

/** Keys of the fullest and the emptiest worker, as parts of their share. */
function evenness(placement: Placement, members: readonly Member[]): { fullest: number; emptiest: number } {
  const total = members.reduce((sum, { weight }) => sum + weight, 0)
  const held = new Map(diffSlots(undefined, placement).perWorker.map(({ id, after }) => [id, after]))
  const parts = members.map(({ id, weight }) => (held.get(id) ?? 0) / ((SLOTS * weight) / total))
  return { fullest: Math.max(...parts), emptiest: Math.min(...parts) }
}

function elapsed(run: () => unknown): number {
  const start = performance.now()
  run()
  return performance.now() - start
}

console.log(
  '| change | scheme | keys moved | the least possible | moved / least | fullest worker | emptiest worker | ms |',
)
console.log('|---|---|--:|--:|--:|--:|--:|--:|')
for (const [change, first, second] of CHANGES) {
  for (const [name, scheme] of SCHEMES) {
    const before = scheme(first, undefined)
    const after = scheme(second, before)
    const ms = Math.min(...Array.from({ length: 3 }, () => elapsed(() => scheme(second, before))))
    const moved = diffSlots(before, after).moves.length
    const least = leastMoved(first, second) * SLOTS
    const { fullest, emptiest } = evenness(after, second)
    const cells = [
      change,
      name,
      moved,
      least.toFixed(0),
      (moved / least).toFixed(2),
      `${(fullest * 100).toFixed(1)} %`,
      `${(emptiest * 100).toFixed(1)} %`,
      ms.toFixed(1),
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
}
