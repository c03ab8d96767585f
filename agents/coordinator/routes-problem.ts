/** What is wrong with a routes file, in words that say what to write instead. */

import type { z } from 'zod'
import { keysAt } from './routes-schema.js'

/** Where something stands: keys and positions from the top. */
export type Path = readonly (string | number)[]

/** Something that the file says wrongly. */
export interface Finding {
  readonly path: Path
  readonly message: string
}

/** Turns what the schema found into findings, one for each key at fault. */
export function findingsOf(issues: readonly z.core.$ZodIssue[], file: unknown, under: Path = []): Finding[] {
  return issues.flatMap((issue) => {
    const path: Path = [...under, ...issue.path.map((key) => (typeof key === 'number' ? key : String(key)))]
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(path, key))
    if (issue.code === 'invalid_union') return unionFindings(issue, file, path)
    if (issue.code === 'invalid_key')
      return issue.issues.map(({ message }) => ({ path, message: `its name ${message}` }))
    return [{ path, message: sayIssue(issue, valueAt(file, path)) }]
  })
}

function unknownKey(path: Path, key: string): Finding {
  const known = keysAt(path) ?? []
  const near = nearest(key, known)
  const hint = near === undefined ? `known here: ${known.join(', ')}` : `did you mean ${near}?`
  return { path: [...path, key], message: `there is no ${JSON.stringify(key)} here; ${hint}` }
}

function unionFindings(issue: z.core.$ZodIssueInvalidUnion, file: unknown, path: Path): Finding[] {
  const value = valueAt(file, path)
  if (!isRecord(value)) {
    return [
      { path, message: `must be a text with * and ?, or one of exact, prefix, regex, present, not ${inWords(value)}` },
    ]
  }
  const asRecord = issue.errors.find(
    (issues) => !issues.some(({ code, path }) => code === 'invalid_type' && path.length === 0),
  )
  const misspelt = asRecord?.some(({ code }) => code === 'unrecognized_keys')
  // A misspelt form is no form: that it also holds none of them need not be said.
  const said = asRecord?.filter((inner) => !(misspelt && inner.code === 'custom' && inner.path.length === 0))
  return findingsOf(said ?? [], file, path)
}

function sayIssue(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined && issue.code !== 'custom') return 'is missing'
  if (issue.code === 'invalid_type') {
    const quote = issue.expected === 'string' && isScalar(value) ? `; write it in quotes: "${value}"` : ''
    return `must be ${EXPECTED.get(issue.expected) ?? issue.expected}, not ${inWords(value)}${quote}`
  }
  if (issue.code !== 'invalid_value') return issue.message
  const values = issue.values.map(String)
  const near = typeof value === 'string' ? nearest(value, values) : undefined
  const hint = near === undefined ? '' : `; did you mean ${near}?`
  return `must be one of ${values.join(', ')}, not ${inWords(value)}${hint}`
}

const EXPECTED = new Map<string, string>([
  ['string', 'a text'],
  ['number', 'a number'],
  ['boolean', 'true or false'],
  ['array', 'a list'],
  ['object', 'a record of keys'],
  ['record', 'a record of names'],
])

/** A value of the file, short enough for a message. */
export function inWords(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'a list'
  if (isRecord(value)) return 'a record'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

function isScalar(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'boolean'
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function valueAt(file: unknown, path: Path): unknown {
  let value = file
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string | number, unknown>)[key]
  }
  return value
}

/** How {@link sayPath} names the file as a whole. */
export const ROOT = '$'

/** `routes[0].to[1].pool`; keys that are no plain words are quoted: `pools["a.b"]`. */
export function sayPath(path: Path): string {
  if (path.length === 0) return ROOT
  return path.reduce<string>((said, key) => {
    if (typeof key === 'number') return `${said}[${key}]`
    if (!/^[\w-]+$/.test(key)) return `${said}[${JSON.stringify(key)}]`
    return said === '' ? key : `${said}.${key}`
  }, '')
}

/** The known word that `word` was probably meant to be: at most a third of its letters differ. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let fewest = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of known) {
    const edits = editsBetween(word.toLowerCase().slice(0, 64), candidate.toLowerCase().slice(0, 64))
    if (edits < fewest) {
      fewest = edits
      best = candidate
    }
  }
  return best
}

/** Letters to insert, delete, replace, or swap with their neighbour (optimal string alignment). */
function editsBetween(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let edits = Math.min((above[j] as number) + 1, (row[j - 1] as number) + 1, (above[j - 1] as number) + same)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) edits = Math.min(edits, (before[j - 2] as number) + 1)
      row.push(edits)
    }
    before = above
    above = row
  }
  return above[b.length] as number
}
