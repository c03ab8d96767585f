/** Regular expression to a bounded program (Thompson's construction, as Cox describes it for a virtual machine). */

import { SluiceError } from '../../proto/errors.js'
import { type CharSet, type PatternNode, parsePattern } from './pattern-syntax.js'

export type Instruction =
  /** Takes one character of the set, then goes on behind itself. */
  | { readonly op: 'set'; readonly set: CharSet }
  | { readonly op: 'split'; other: number; readonly next: number }
  | { readonly op: 'jump'; next: number }
  /** Goes on behind itself only at the start, or the end, of the text. */
  | { readonly op: 'start' | 'end' }
  | { readonly op: 'match' }

/** Longest program. `{m,n}` repeats what stands before it, so a short pattern can become a long program. */
const MAX_PROGRAM = 2048

/** @throws SluiceError `invalid_routes` for a pattern that is not understood, or becomes too long */
export function compilePattern(source: string): Instruction[] {
  const program: Instruction[] = []
  emit(parsePattern(source), program, source)
  push(program, { op: 'match' }, source)
  return program
}

function emit(node: PatternNode, program: Instruction[], source: string): void {
  switch (node.kind) {
    case 'set':
      push(program, { op: 'set', set: node.set }, source)
      return
    case 'start':
    case 'end':
      push(program, { op: node.kind }, source)
      return
    case 'sequence':
      for (const part of node.parts) emit(part, program, source)
      return
    case 'choice':
      emitChoice(node.parts, program, source)
      return
    case 'repeat':
      emitRepeat(node, program, source)
  }
}

function emitChoice(parts: readonly PatternNode[], program: Instruction[], source: string): void {
  const jumps: { next: number }[] = []
  for (const [i, part] of parts.entries()) {
    const last = i === parts.length - 1
    const split = last ? undefined : pushSplit(program, source)
    emit(part, program, source)
    if (split === undefined) break
    jumps.push(push(program, { op: 'jump', next: 0 }, source))
    split.other = program.length
  }
  for (const jump of jumps) jump.next = program.length
}

function emitRepeat(
  { part, least, most }: PatternNode & { kind: 'repeat' },
  program: Instruction[],
  source: string,
): void {
  for (let i = 0; i < least; i++) {
    const before = program.length
    emit(part, program, source)
    // Repeating nothing is nothing, however often.
    if (program.length === before) return
  }
  if (most === Number.POSITIVE_INFINITY) {
    const at = program.length
    const split = pushSplit(program, source)
    emit(part, program, source)
    push(program, { op: 'jump', next: at }, source)
    split.other = program.length
    return
  }
  const splits: { other: number }[] = []
  for (let i = least; i < most; i++) {
    splits.push(pushSplit(program, source))
    emit(part, program, source)
  }
  for (const split of splits) split.other = program.length
}

function pushSplit(program: Instruction[], source: string): { other: number } {
  return push(program, { op: 'split', next: program.length + 1, other: 0 }, source)
}

function push<T extends Instruction>(program: Instruction[], instruction: T, source: string): T {
  if (program.length >= MAX_PROGRAM) {
    throw new SluiceError(
      'invalid_routes',
      `regex ${JSON.stringify(source)} is too large once its repetitions are written out`,
    )
  }
  program.push(instruction)
  return instruction
}
