/** What a regular expression says, as a tree. What the bounded engine cannot do is refused by name. */

import { SluiceError } from '../../proto/errors.js'

/** Pairs of first and last UTF-16 code unit. */
export interface CharSet {
  readonly ranges: readonly number[]
  readonly negated: boolean
}

export type PatternNode =
  | { readonly kind: 'set'; readonly set: CharSet }
  | { readonly kind: 'start' | 'end' }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly PatternNode[] }
  | { readonly kind: 'repeat'; readonly part: PatternNode; readonly least: number; readonly most: number }

/** Deepest nesting of groups. */
const MAX_DEPTH = 32

const DIGIT = [0x30, 0x39]
const WORD = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a]
/** White space and line ends of ECMAScript (section 22.2.2.9), as `\s` means them. */
const SPACE = [
  0x09, 0x0d, 0x20, 0x20, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029, 0x202f, 0x202f, 0x205f, 0x205f,
  0x3000, 0x3000, 0xfeff, 0xfeff,
]
const LINE_END = [0x0a, 0x0a, 0x0d, 0x0d, 0x2028, 0x2029]
const CLASSES = new Map<string, CharSet>([
  ['d', { ranges: DIGIT, negated: false }],
  ['D', { ranges: DIGIT, negated: true }],
  ['w', { ranges: WORD, negated: false }],
  ['W', { ranges: WORD, negated: true }],
  ['s', { ranges: SPACE, negated: false }],
  ['S', { ranges: SPACE, negated: true }],
])
const CONTROLS = new Map([
  ['n', 0x0a],
  ['r', 0x0d],
  ['t', 0x09],
  ['f', 0x0c],
  ['v', 0x0b],
])
const ONCE_OR_MORE = { '*': [0, Number.POSITIVE_INFINITY], '+': [1, Number.POSITIVE_INFINITY], '?': [0, 1] } as const

/** @throws SluiceError `invalid_routes` that names what is not understood, and where */
export function parsePattern(source: string): PatternNode {
  return new PatternParser(source).parse()
}

class PatternParser {
  readonly #source: string
  #pos = 0
  #depth = 0

  constructor(source: string) {
    this.#source = source
  }

  parse(): PatternNode {
    const node = this.#choice()
    if (this.#pos < this.#source.length) this.#refuse('a ) without its (')
    return node
  }

  #choice(): PatternNode {
    const parts = [this.#sequence()]
    while (this.#accept('|')) parts.push(this.#sequence())
    return parts.length === 1 ? (parts[0] as PatternNode) : { kind: 'choice', parts }
  }

  #sequence(): PatternNode {
    const parts: PatternNode[] = []
    while (this.#pos < this.#source.length && !this.#at('|)')) parts.push(this.#repeated(this.#atom()))
    return { kind: 'sequence', parts }
  }

  #atom(): PatternNode {
    const char = this.#take('an end')
    switch (char) {
      case '(':
        return this.#group()
      case '[':
        return { kind: 'set', set: this.#class() }
      case '.':
        return { kind: 'set', set: { ranges: LINE_END, negated: true } }
      case '^':
        return { kind: 'start' }
      case '$':
        return { kind: 'end' }
      case '\\':
        return { kind: 'set', set: this.#escape() }
    }
    if ('*+?{'.includes(char)) this.#refuse(`a ${char} with nothing in front of it to repeat`)
    return { kind: 'set', set: single(char.charCodeAt(0)) }
  }

  #group(): PatternNode {
    if (++this.#depth > MAX_DEPTH) this.#refuse(`more than ${MAX_DEPTH} groups inside each other`)
    if (this.#accept('?') && !this.#accept(':')) this.#refuse('lookaround, a named group or flags')
    const node = this.#choice()
    if (!this.#accept(')')) this.#refuse('a ( without its )')
    this.#depth--
    return node
  }

  #repeated(part: PatternNode): PatternNode {
    if (!this.#at('*+?{')) return part
    const [least, most] = this.#bounds()
    // A lazy quantifier finds the same texts; only what it captures would differ.
    this.#accept('?')
    if (this.#at('*+?{')) this.#refuse('a quantifier behind a quantifier')
    return { kind: 'repeat', part, least, most }
  }

  #bounds(): readonly [number, number] {
    const char = this.#take('an end')
    if (char !== '{') return ONCE_OR_MORE[char as keyof typeof ONCE_OR_MORE]
    const match = /^(\d{1,4})(?:(,)(\d{0,4}))?\}/.exec(this.#source.slice(this.#pos))
    if (match === null) this.#refuse('a { that begins no {m}, {m,} or {m,n} (the character itself is \\{)')
    this.#pos += match[0].length
    const least = Number(match[1])
    const most = match[2] === undefined ? least : match[3] === '' ? Number.POSITIVE_INFINITY : Number(match[3])
    if (most < least) this.#refuse(`a repetition from ${least} down to ${most}`)
    return [least, most]
  }

  #class(): CharSet {
    const negated = this.#accept('^')
    const ranges: number[] = []
    while (!this.#accept(']')) {
      const first = this.#classAtom(ranges)
      if (first === undefined) continue
      const isRange = this.#at('-') && this.#source[this.#pos + 1] !== ']'
      if (isRange) this.#pos++
      const last = isRange ? this.#classAtom(ranges) : first
      if (last === undefined || last < first) this.#refuse('a range in [ ] that does not rise')
      ranges.push(first, last)
    }
    return { ranges, negated }
  }

  /** One character of a class; undefined when it was `\d` or the like, whose ranges are added. */
  #classAtom(ranges: number[]): number | undefined {
    const char = this.#take('a [ without its ]')
    if (char !== '\\') return char.charCodeAt(0)
    const set = this.#escape()
    if (set.negated) this.#refuse('\\D, \\W or \\S inside [ ]')
    if (set.ranges[0] === set.ranges[1]) return set.ranges[0] as number
    ranges.push(...set.ranges)
    return undefined
  }

  #escape(): CharSet {
    const char = this.#take('a \\ at its end')
    const set = CLASSES.get(char)
    if (set !== undefined) return set
    const control = CONTROLS.get(char)
    if (control !== undefined) return single(control)
    if (char === 'x') return single(this.#hex(2))
    if (char === 'u') return single(this.#hex(4))
    if (/[0-9a-zA-Z]/.test(char)) this.#refuse(`\\${char}`)
    return single(char.charCodeAt(0))
  }

  #hex(digits: number): number {
    const text = this.#source.slice(this.#pos, this.#pos + digits)
    if (text.length < digits || !/^[0-9a-fA-F]+$/.test(text)) this.#refuse(`an escape without its ${digits} hex digits`)
    this.#pos += digits
    return Number.parseInt(text, 16)
  }

  #at(chars: string): boolean {
    const char = this.#source[this.#pos]
    return char !== undefined && chars.includes(char)
  }

  #take(missing: string): string {
    const char = this.#source[this.#pos]
    if (char === undefined) this.#refuse(missing)
    this.#pos++
    return char
  }

  #accept(char: string): boolean {
    if (this.#source[this.#pos] !== char) return false
    this.#pos++
    return true
  }

  #refuse(what: string): never {
    const where = `before character ${this.#pos + 1}`
    throw new SluiceError(
      'invalid_routes',
      `regex ${JSON.stringify(this.#source)} holds ${what}, ${where}: not supported`,
    )
  }
}

function single(char: number): CharSet {
  return { ranges: [char, char], negated: false }
}
