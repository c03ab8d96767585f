/**
 * Regular expressions whose time is bounded: Thompson's simulation of an NFA, which visits each instruction at most
 * once a character. Backreferences and lookaround do not exist here, so there is no input that makes a match explode.
 */

import { SluiceError } from '../../proto/errors.js'
import { compilePattern, type Instruction } from './pattern-compile.js'
import type { CharSet } from './pattern-syntax.js'

/** Longest pattern in characters. */
export const MAX_PATTERN = 256

/** Longest value that a pattern looks at; a longer one does not match. */
export const MAX_PATTERN_INPUT = 4096

/**
 * Compiles a pattern to a predicate that is true when the pattern occurs anywhere in the text, as `RegExp.test` does;
 * `^` and `$` tie it to the ends. Understood: literals, `.`, classes, `\d \w \s` and their opposites, groups, `|`,
 * `* + ? {m,n}`. Costs at most text length x program length steps.
 * @throws SluiceError `invalid_routes` that says what in the pattern is not understood
 */
export function createPattern(source: string): (text: string) => boolean {
  if (source.length > MAX_PATTERN) {
    throw new SluiceError('invalid_routes', `a regex has at most ${MAX_PATTERN} characters, this one ${source.length}`)
  }
  const program = compilePattern(source)
  const run = new Simulation(program)
  return (text) => text.length <= MAX_PATTERN_INPUT && run.matches(text)
}

/** Reused between calls: a match allocates nothing. */
class Simulation {
  readonly #program: readonly Instruction[]
  /** Step (one a character) at which an instruction was followed last, so that none is followed twice. */
  readonly #addedAt: Float64Array
  readonly #stack: number[] = []
  #now: number[] = []
  #next: number[] = []
  #step = 0

  constructor(program: readonly Instruction[]) {
    this.#program = program
    this.#addedAt = new Float64Array(program.length)
  }

  matches(text: string): boolean {
    this.#now.length = 0
    this.#step++
    for (let at = 0; ; at++) {
      // Unanchored: a match may begin at every position.
      if (this.#follow(0, at, text.length, this.#now)) return true
      if (at === text.length) return false
      this.#step++
      if (this.#advance(text.charCodeAt(at), at + 1, text.length)) return true
    }
  }

  #advance(char: number, at: number, end: number): boolean {
    this.#next.length = 0
    for (const pc of this.#now) {
      const instruction = this.#program[pc] as Instruction
      if (instruction.op === 'set' && contains(instruction.set, char) && this.#follow(pc + 1, at, end, this.#next))
        return true
    }
    const done = this.#now
    this.#now = this.#next
    this.#next = done
    return false
  }

  /** Adds everything reachable from `from` without a character to `list`. True when that is the end of the program. */
  #follow(from: number, at: number, end: number, list: number[]): boolean {
    const stack = this.#stack
    stack.length = 0
    stack.push(from)
    for (let pc = stack.pop(); pc !== undefined; pc = stack.pop()) {
      if (this.#addedAt[pc] === this.#step) continue
      this.#addedAt[pc] = this.#step
      const instruction = this.#program[pc] as Instruction
      if (instruction.op === 'match') return true
      if (instruction.op === 'set') list.push(pc)
      else if (instruction.op === 'split') stack.push(instruction.other, instruction.next)
      else if (instruction.op === 'jump') stack.push(instruction.next)
      else if (instruction.op === 'start' ? at === 0 : at === end) stack.push(pc + 1)
    }
    return false
  }
}

function contains({ ranges, negated }: CharSet, char: number): boolean {
  for (let i = 0; i < ranges.length; i += 2) {
    if (char >= (ranges[i] as number) && char <= (ranges[i + 1] as number)) return !negated
  }
  return negated
}
