/** Text conditions of routes, compiled to predicates. */

import type { TextMatch } from '../../proto/table.js'
import { createPattern } from './pattern.js'

/** Takes the attribute's value, undefined when the session has none. */
export type TextPredicate = (value: string | undefined) => boolean

/**
 * Compiles one condition. A condition other than `present` never holds for an attribute that is not there.
 * @throws SluiceError `invalid_routes` for a regex that is not understood
 */
export function compileText(match: TextMatch): TextPredicate {
  if (typeof match === 'string') {
    return /[*?]/.test(match) ? (value) => value !== undefined && globMatches(match, value) : equals(match)
  }
  if ('exact' in match) return equals(match.exact)
  if ('prefix' in match) return (value) => value?.startsWith(match.prefix) ?? false
  if ('present' in match) return (value) => (value !== undefined) === match.present
  const matches = createPattern(match.regex)
  return (value) => value !== undefined && matches(value)
}

function equals(wanted: string): TextPredicate {
  return (value) => value === wanted
}

/**
 * `*` is any run of characters, `?` any one. On a mismatch only the last `*` is widened (an earlier one could not do
 * better), so it takes at most pattern length x text length steps.
 */
export function globMatches(pattern: string, text: string): boolean {
  let p = 0
  let t = 0
  let star = -1
  let starText = 0
  while (t < text.length) {
    const c = p < pattern.length ? pattern.charCodeAt(p) : -1
    if (c === 0x2a) {
      star = p++
      starText = t
    } else if (c === 0x3f || c === text.charCodeAt(t)) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++starText
    } else return false
  }
  while (pattern.charCodeAt(p) === 0x2a) p++
  return p === pattern.length
}
