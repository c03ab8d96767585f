/**
 * Slot tables as bytes: whole (u16 little endian each), and as the difference between two of them.
 *
 * A difference is taken by owner, not by index: `members` is sorted, so a joining worker shifts the index of every
 * worker behind it, and such a shift costs nothing here. Only slots whose owner really changed are listed, grouped by
 * their new owner: varint owner + 1 (0: nobody), varint count, then the gap to the previous slot of the group each.
 */

import { malformed } from './fields.js'
import { SLOTS } from './hash.js'
import { UNOWNED } from './table.js'

/** How the members of a pool changed: indexes that go (in the old list), then ids that come (index in the new list). */
export interface MemberEdits {
  readonly removed: readonly number[]
  readonly added: readonly (readonly [number, string])[]
}

/** The edits from `from` to `to`, or undefined when those that stay are in another order: then only the whole list tells. */
export function memberEdits(from: readonly string[], to: readonly string[]): MemberEdits | undefined {
  const before = new Set(from)
  const after = new Set(to)
  if (before.size !== from.length || after.size !== to.length) return undefined
  const stay = from.filter((id) => after.has(id))
  const removed: number[] = []
  for (const [i, id] of from.entries()) if (!after.has(id)) removed.push(i)
  const added: [number, string][] = []
  let next = 0
  for (const [i, id] of to.entries()) {
    if (!before.has(id)) added.push([i, id])
    else if (stay[next++] !== id) return undefined
  }
  return { removed, added }
}

/** Undoes {@link memberEdits}; `edits` may be hostile. The very list where there are none. @throws SluiceError `bad_request` */
export function editMembers(from: readonly string[], edits: MemberEdits, path: string): readonly string[] {
  if (edits.removed.length === 0 && edits.added.length === 0) return from
  const gone = new Set(edits.removed)
  const members = from.filter((_, i) => !gone.has(i))
  if (members.length !== from.length - edits.removed.length) malformed(`${path}.removed`, 'a list of different members')
  const added: string[] = []
  const result: string[] = []
  let next = 0
  for (const [index, id] of edits.added) {
    while (result.length < index && next < members.length) result.push(members[next++] as string)
    if (result.length !== index) malformed(`${path}.added`, 'a list of rising indexes')
    result.push(id)
    added.push(id)
  }
  for (; next < members.length; next++) result.push(members[next] as string)
  return result
}

/** For every old owner index its new one, {@link UNOWNED} for those that are gone. */
function ownerShift(from: readonly string[], to: readonly string[]): Uint16Array {
  const index = new Map(to.map((id, i) => [id, i]))
  return Uint16Array.from(from, (id) => index.get(id) ?? UNOWNED)
}

/**
 * `slots` told in indexes of the new member list. A gateway does this between two frames, in code that is seldom run and
 * so hardly optimized: where nobody's index changed, as when the newest worker is the last one, it is one native copy.
 */
function shifted(slots: Uint16Array, shift: Uint16Array): Uint16Array {
  if (shift.every((to, from) => to === from)) return slots.slice()
  const result = new Uint16Array(slots.length)
  for (let s = 0; s < slots.length; s++) {
    const owner = slots[s] as number
    result[s] = owner === UNOWNED ? UNOWNED : (shift[owner] ?? UNOWNED)
  }
  return result
}

/** Growing byte buffer for varints. */
class VarintWriter {
  #bytes = new Uint8Array(256)
  #length = 0

  write(value: number): void {
    if (this.#length + 5 > this.#bytes.length) {
      const bigger = new Uint8Array(this.#bytes.length * 2)
      bigger.set(this.#bytes)
      this.#bytes = bigger
    }
    for (; value > 0x7f; value >>>= 7) this.#bytes[this.#length++] = (value & 0x7f) | 0x80
    this.#bytes[this.#length++] = value
  }

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }
}

/** The slots whose owner changed between two tables of equal length. */
export function packSlotDelta(
  from: { members: readonly string[]; slots: Uint16Array },
  to: { members: readonly string[]; slots: Uint16Array },
): Uint8Array {
  const base = shifted(from.slots, ownerShift(from.members, to.members))
  const groups = new Map<number, number[]>()
  for (let s = 0; s < base.length; s++) {
    const owner = to.slots[s] as number
    if (owner === base[s]) continue
    const group = groups.get(owner)
    if (group === undefined) groups.set(owner, [s])
    else group.push(s)
  }
  const writer = new VarintWriter()
  for (const [owner, slots] of groups) {
    writer.write(owner === UNOWNED ? 0 : owner + 1)
    writer.write(slots.length)
    let previous = 0
    for (const slot of slots) {
      writer.write(slot - previous)
      previous = slot
    }
  }
  return writer.done()
}

/** Undoes {@link packSlotDelta}. @throws SluiceError `bad_request` when `bytes` are none, or lead outside the table. */
export function applySlotDelta(
  from: { members: readonly string[]; slots: Uint16Array },
  members: readonly string[],
  bytes: Uint8Array,
  path: string,
): Uint16Array {
  const same = members === from.members
  const slots = same ? from.slots.slice() : shifted(from.slots, ownerShift(from.members, members))
  let at = 0
  const read = (): number => {
    let value = 0
    for (let shift = 0; shift <= 14; shift += 7) {
      const byte = bytes[at++]
      if (byte === undefined) break
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    return malformed(path, 'a list of slot changes')
  }
  while (at < bytes.length) {
    const owner = read()
    if (owner > members.length) malformed(path, 'a change to an owner that is a member')
    let slot = 0
    for (let left = read(); left > 0; left--) {
      slot += read()
      if (slot >= slots.length) malformed(path, `a change of a slot below ${slots.length}`)
      slots[slot] = owner === 0 ? UNOWNED : owner - 1
    }
  }
  return slots
}

/** True where memory holds numbers as the wire does: a table is copied as it is. */
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** A slot table as bytes: two each, little endian. */
export function packSlots(slots: Uint16Array): Uint8Array {
  if (LITTLE_ENDIAN) return new Uint8Array(slots.buffer, slots.byteOffset, slots.byteLength).slice()
  const bytes = new Uint8Array(slots.length * 2)
  for (let s = 0; s < slots.length; s++) {
    const owner = slots[s] as number
    bytes[s * 2] = owner & 0xff
    bytes[s * 2 + 1] = owner >>> 8
  }
  return bytes
}

/** Undoes {@link packSlots}. @throws SluiceError `bad_request` when it is neither empty nor whole, or an owner is no member. */
export function unpackSlots(bytes: Uint8Array, members: number, path: string): Uint16Array {
  if (bytes.length !== 0 && bytes.length !== SLOTS * 2) malformed(path, `empty or ${SLOTS} slots`)
  const slots = new Uint16Array(bytes.length / 2)
  if (LITTLE_ENDIAN) new Uint8Array(slots.buffer).set(bytes)
  else for (let s = 0; s < slots.length; s++) slots[s] = (bytes[s * 2] as number) | ((bytes[s * 2 + 1] as number) << 8)
  if (strayOwner(slots, members) >= 0) malformed(path, 'a list of owners that are members')
  return slots
}

/** The first slot whose owner is none of so many members, nor nobody; -1 when there is none. */
export function strayOwner(slots: Uint16Array, members: number): number {
  for (let s = 0; s < slots.length; s++) {
    const owner = slots[s] as number
    if (owner >= members && owner !== UNOWNED) return s
  }
  return -1
}
