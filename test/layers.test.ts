/** The rules of the house (docs/architecture.md), read from the imports themselves. */

import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'

/** The repository, from dist/test/ as well as from test/. */
const ROOT = (() => {
  const here = dirname(fileURLToPath(import.meta.url))
  return normalize(here.includes(`${join('dist', 'test')}`) ? join(here, '../..') : join(here, '..'))
})()

interface Imports {
  /** Files of ours, as paths from the root. */
  own: string[]
  /** Packages and `node:` modules. */
  foreign: string[]
}

/** One room: the folder or file it covers, and what it may import of ours besides itself. */
interface Room {
  readonly path: string
  readonly may: readonly string[]
}

// The first entry that fits a file decides.
const ROOMS: readonly Room[] = [
  { path: 'proto/', may: [] },
  { path: 'gateway/ports.ts', may: ['proto/'] },
  { path: 'gateway/balance/', may: ['proto/'] },
  { path: 'gateway/route/', may: ['gateway/balance/', 'proto/'] },
  { path: 'gateway/edge/', may: ['gateway/ports.ts', 'proto/'] },
  {
    path: 'gateway/session/',
    may: ['gateway/ports.ts', 'gateway/route/', 'gateway/worker-port.ts', 'gateway/counters.ts', 'proto/'],
  },
  { path: 'gateway/link/', may: ['gateway/ports.ts', 'gateway/worker-port.ts', 'gateway/counters.ts', 'proto/'] },
  { path: 'gateway/fanout/', may: ['gateway/ports.ts', 'proto/'] },
  { path: 'gateway/bridge/', may: ['gateway/ports.ts', 'proto/'] },
  { path: 'gateway/geo/', may: ['proto/'] },
  { path: 'gateway/control/', may: ['gateway/ports.ts', 'gateway/counters.ts', 'proto/'] },
  { path: 'gateway/', may: ['gateway/', 'proto/'] },
  { path: 'agents/coordinator/', may: ['proto/', 'gateway/balance/', 'gateway/route/', 'gateway/geo/'] },
  { path: 'agents/worker/', may: ['proto/', 'gateway/balance/', 'gateway/route/'] },
  { path: 'agents/device/', may: ['proto/', 'gateway/balance/', 'gateway/route/'] },
  {
    path: 'agents/cli/',
    may: [
      'proto/',
      'gateway/main.ts',
      'gateway/heap.ts',
      'gateway/balance/',
      'gateway/route/',
      'agents/coordinator/',
      'agents/worker/',
      'agents/device/',
    ],
  },
  { path: 'agents/dashboard/', may: ['proto/'] },
]

/** Rooms without sockets, files, clocks: they run in a browser as they are. */
const PURE = ['proto/', 'gateway/balance/', 'gateway/route/']

/** Where the process itself (arguments, signals, exit) may be touched. */
const TOUCHES_PROCESS = [
  'agents/cli/',
  'gateway/main.ts',
  'gateway/thread-main.ts',
  'agents/coordinator/main.ts',
  'agents/worker/run.ts',
]

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(ts|js)$/.test(file))
    .map((file) => join(folder, file))
    .sort()
}

const files = ['proto', 'gateway', 'agents'].flatMap(sources)
const code = files.filter((file) => !file.startsWith('proto/generated/'))

function importsOf(file: string): Imports {
  const named = ts
    .preProcessFile(readFileSync(join(ROOT, file), 'utf8'), true, true)
    .importedFiles.map((one) => one.fileName)
  const own = named
    .filter((name) => name.startsWith('.'))
    .map((name) => normalize(join(dirname(file), name)).replace(/\.js$/, '.ts'))
  return {
    own: own.map((path) => (path.startsWith('proto/generated/') ? path.replace(/\.ts$/, '.js') : path)),
    foreign: named.filter((name) => !name.startsWith('.')),
  }
}

const graph = new Map(code.map((file) => [file, importsOf(file)]))

function roomOf(file: string): Room | undefined {
  return ROOMS.find(({ path }) => file === path || (path.endsWith('/') && file.startsWith(path)))
}

t.test('every import of ours names a file that exists', async (t) => {
  for (const [file, { own }] of graph)
    for (const target of own) if (!files.includes(target)) t.fail(`${file} imports ${target}`)
  t.ok(graph.size > 10, 'the sources were found')
})

t.test('every room imports only what its line in the table allows', async (t) => {
  for (const [file, { own }] of graph) {
    const room = roomOf(file)
    if (room === undefined) {
      t.fail(`${file} is in no room: add one to the table, or move it`)
      continue
    }
    const allowed = [room.path, ...room.may]
    for (const target of own) {
      const fits = allowed.some((path) => target === path || (path.endsWith('/') && target.startsWith(path)))
      if (!fits)
        t.fail(`${file} may not import ${target}; ${room.path} may import ${room.may.join(', ') || 'nothing of ours'}`)
    }
  }
})

t.test('the pure rooms import nothing of Node', async (t) => {
  for (const [file, { foreign }] of graph) {
    if (!PURE.some((path) => file.startsWith(path))) continue
    for (const name of foreign) if (isBuiltin(name)) t.fail(`${file} imports ${name}`)
  }
})

t.test('uWebSockets.js is loaded in one file, and its types are known beside it only', async (t) => {
  const importers = [...graph].filter(([, { foreign }]) => foreign.includes('uWebSockets.js')).map(([file]) => file)
  t.same(
    importers.filter((file) => !file.startsWith('gateway/edge/server/')),
    [],
  )
  // Type imports are gone when it runs; what is left is `import x from`, `import(…)` or `require(…)`.
  const loads = /(import\s+(?!type\b)[^'"]*from\s+|(import|require)\s*\(\s*)['"]uWebSockets\.js['"]/
  const loaders = importers.filter((file) => loads.test(readFileSync(join(ROOT, file), 'utf8')))
  t.equal(loaders.length, 1, loaders.join(', '))
})

t.test('no import runs in a circle, types included', async (t) => {
  for (const circle of circles()) t.fail(`circle: ${circle.join(' -> ')}`)
})

t.test('only the command line and the main files touch the process', async (t) => {
  for (const file of code) {
    if (TOUCHES_PROCESS.some((path) => file === path || (path.endsWith('/') && file.startsWith(path)))) continue
    for (const use of processUses(file)) t.fail(`${file} uses process.${use}: pass it in instead`)
  }
})

t.test('a rule that is broken is found', async (t) => {
  const text = "import type { A } from './a.js'\nexport { b } from '../b.js'\nconst c = import('ws')\n"
  const named = ts.preProcessFile(text, true, true).importedFiles.map((one) => one.fileName)
  t.same(named, ['./a.js', '../b.js', 'ws'], 'type imports, re-exports and dynamic imports are all seen')
})

/** Every circle of imports once, by depth-first search. */
function circles(): string[][] {
  const found: string[][] = []
  const done = new Set<string>()
  const path: string[] = []
  const visit = (file: string): void => {
    const at = path.indexOf(file)
    if (at !== -1) found.push([...path.slice(at), file])
    if (at !== -1 || done.has(file)) return
    path.push(file)
    for (const target of graph.get(file)?.own ?? []) visit(target)
    path.pop()
    done.add(file)
  }
  for (const file of graph.keys()) visit(file)
  return found
}

/** Members of the global `process` that a file uses, apart from those that only tell something. */
function processUses(file: string): string[] {
  const harmless = new Set([
    'memoryUsage',
    'hrtime',
    'pid',
    'versions',
    'version',
    'platform',
    'arch',
    'cpuUsage',
    'nextTick',
    'resourceUsage',
    'uptime',
  ])
  const source = ts.createSourceFile(file, readFileSync(join(ROOT, file), 'utf8'), ts.ScriptTarget.ES2022, true)
  const uses: string[] = []
  const walk = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'process') {
      if (!harmless.has(node.name.text)) uses.push(node.name.text)
    }
    ts.forEachChild(node, walk)
  }
  walk(source)
  return uses
}
