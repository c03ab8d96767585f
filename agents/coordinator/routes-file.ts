/** The routes file (YAML 1.2 or JSON): text to routes and pools, or everything that is wrong with it, with line and column. */

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  parseDocument,
} from 'yaml'
import { SluiceError } from '../../proto/errors.js'
import type { AffinityKey, Route, RouteMatch } from '../../proto/table.js'
import { findOddities } from './routes-oddities.js'
import { type Finding, findingsOf, type Path, ROOT, sayPath } from './routes-problem.js'
import { type RoutesInput, routesSchema } from './routes-schema.js'
import { checkSemantics } from './routes-semantics.js'
import { defaultPool, type PoolSpec, type RouteSpec } from './table-builder.js'

export { routesJsonSchema } from './routes-schema.js'

/** Largest routes file in characters: 1,000 routes of a kilobyte. */
export const MAX_ROUTES_FILE = 1024 * 1024
/** Nodes that the file's aliases may expand to, as a multiple of what stands in it: a "billion laughs" is refused. */
const MAX_ALIASES = 100
/** Deepest nesting. A routes file needs 8; the parser's own recursion can take the whole process down at 10,000. */
const MAX_DEPTH = 64
/** Most problems that are listed. */
const MAX_PROBLEMS = 100

/** One thing that is wrong, or looks so, and where. */
export interface RoutesProblem {
  /** `routes[0].to[1].pool`; `$` for the file as a whole. */
  readonly path: string
  /** Both from 1. */
  readonly line: number
  readonly column: number
  readonly message: string
}

export interface RoutesFile {
  /** Undefined when there are errors. */
  readonly spec: RouteSpec | undefined
  readonly errors: readonly RoutesProblem[]
  readonly warnings: readonly RoutesProblem[]
}

/** Reads a routes file. Lists all problems at once, in the order of their lines. Never throws. */
export function readRoutesFile(text: string): RoutesFile {
  if (text.length > MAX_ROUTES_FILE) {
    return refused({ message: `is ${text.length} characters long; at most ${MAX_ROUTES_FILE} are read` })
  }
  try {
    return readDocument(text)
  } catch (error) {
    // Aliases that expand without end, or contain themselves.
    return refused({ message: sayError(error) })
  }
}

/**
 * The same for callers that want routes or nothing.
 * @param name of the file, for the message
 * @throws SluiceError `invalid_routes`; the message lists every problem, `path` names the first
 */
export function parseRoutes(text: string, name = 'routes'): RouteSpec {
  const { spec, errors } = readRoutesFile(text)
  if (spec !== undefined) return spec
  const message = errors.map((problem) => formatProblem(problem, name)).join('\n')
  throw new SluiceError('invalid_routes', message, { path: errors[0]?.path ?? ROOT })
}

/** `routes.yaml:3:7 routes[0].to[0].pool: no pool is called "x"`. */
export function formatProblem({ path, line, column, message }: RoutesProblem, name: string): string {
  return `${name}:${line}:${column} ${path === ROOT ? 'the file' : `${path}:`} ${message}`
}

function readDocument(text: string): RoutesFile {
  if (isNestedTooDeeply(text)) return refused({ message: `is nested more than ${MAX_DEPTH} levels deep` })
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })
  const syntax = [...document.errors, ...document.warnings].map(({ code, message, pos: [offset] }) =>
    place(
      code === 'MULTIPLE_DOCS' ? 'a second document begins here; a routes file is one' : message,
      offset,
      pathAt(document, offset),
      lines,
    ),
  )
  if (document.errors.length > 0) return { spec: undefined, errors: syntax.slice(0, MAX_PROBLEMS), warnings: [] }
  const odd = findOddities(document).map(({ path, message, offset }) => place(message, offset, path, lines))
  if (odd.length > 0) return { spec: undefined, errors: [...syntax, ...odd].slice(0, MAX_PROBLEMS), warnings: [] }
  const file: unknown = document.toJS({ maxAliasCount: MAX_ALIASES })
  if (file === null || file === undefined) return refused({ message: 'is empty; it needs pools and routes' })
  return readContent(file, document, lines, syntax)
}

/** Looks with the one stage of the YAML parser that does not recurse. */
function isNestedTooDeeply(text: string): boolean {
  const parser = new Parser()
  for (const lexeme of new Lexer().lex(text)) {
    for (const _ of parser.next(lexeme));
    if (parser.stack.length > MAX_DEPTH) return true
  }
  return false
}

function readContent(file: unknown, document: Document, lines: LineCounter, syntax: RoutesProblem[]): RoutesFile {
  const parsed = routesSchema.safeParse(file)
  const semantic = checkSemantics(file)
  const locate = ({ path, message }: Finding): RoutesProblem => place(message, offsetOf(document, path), path, lines)
  const shape = parsed.success ? [] : findingsOf(parsed.error.issues, file)
  const errors = [...syntax, ...[...shape, ...semantic.errors].map(locate)]
    .sort((a, b) => a.line - b.line || a.column - b.column)
    .slice(0, MAX_PROBLEMS)
  const spec = parsed.success && errors.length === 0 ? specOf(parsed.data) : undefined
  return { spec, errors, warnings: semantic.warnings.map(locate).slice(0, MAX_PROBLEMS) }
}

function refused({ message }: { message: string }): RoutesFile {
  return { spec: undefined, errors: [{ path: ROOT, line: 1, column: 1, message }], warnings: [] }
}

function sayError(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function place(message: string, offset: number, path: Path, lines: LineCounter): RoutesProblem {
  const { line, col } = lines.linePos(offset)
  return { path: sayPath(path), line: Math.max(1, line), column: Math.max(1, col), message }
}

/** Where the last key of `path` that is there stands in the text. */
function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents
  let offset = startOf(node) ?? 0
  for (const key of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key))
      if (pair === undefined) return offset
      offset = startOf(pair.key) ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      offset = startOf(node) ?? offset
    } else return offset
  }
  return offset
}

/** The path of what stands at `offset`: for problems that the YAML parser found. */
function pathAt(document: Document, offset: number): Path {
  const path: (string | number)[] = []
  let node: unknown = document.contents
  for (;;) {
    if (isMap(node)) {
      const pair = node.items.findLast(({ key }) => (startOf(key) ?? Number.POSITIVE_INFINITY) <= offset)
      if (pair === undefined || !isScalar(pair.key)) return path
      path.push(String(pair.key.value))
      node = pair.value
    } else if (isSeq(node)) {
      const at = node.items.findLastIndex((item) => (startOf(item) ?? Number.POSITIVE_INFINITY) <= offset)
      if (at < 0) return path
      path.push(at)
      node = node.items[at]
    } else return path
  }
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0]
}

function specOf({ pools, routes }: RoutesInput): RouteSpec {
  return {
    pools: Object.entries(pools).map(([name, given]): PoolSpec => {
      const { policy, key, maxLoad } = defaultPool(name)
      return {
        name,
        policy: given?.policy ?? policy,
        key: (given?.key as AffinityKey | undefined) ?? key,
        maxLoad: given?.maxLoad ?? maxLoad,
      }
    }),
    routes: routes.map(
      ({ name, match, to }): Route => ({
        name,
        match: withoutGaps(match ?? {}) as RouteMatch,
        to: to.map(({ pool, weight }) => ({ pool, weight: weight ?? 1 })),
      }),
    ),
  }
}

/** A copy without keys whose value is undefined, all the way down. */
function withoutGaps(value: object): object {
  const kept = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.fromEntries(
    kept.map(([key, inner]) => [key, typeof inner === 'object' && inner !== null ? withoutGaps(inner) : inner]),
  )
}
