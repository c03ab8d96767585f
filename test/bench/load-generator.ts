/** loadgen.c where it can be had, else the generator in ./generator. */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isInstalled, PinnedProcess } from './pinned-process.js'

/** What a run of the generator tells; names as in loadgen.c. */
export interface Figures {
  readonly msgs_per_s?: number
  readonly deliveries_per_s?: number
  readonly conns_per_s?: number
  readonly rss_per_conn_b?: readonly number[]
  readonly p50_us?: number
  readonly p99_us?: number
  /** Percent of one core. */
  readonly lg_cpu?: number
  readonly srv_cpu?: readonly number[]
  readonly failed?: number
  readonly lost?: number
  readonly errors?: number
}

export interface LoadGenerator {
  /** For the table. */
  readonly name: string
  readonly args: readonly string[]
  readonly command: string
}

const OWN: LoadGenerator = {
  name: 'test/bench/generator (JavaScript: its own limit is near, take the figures as a floor)',
  command: process.execPath,
  args: [fileURLToPath(new URL('./generator/main.js', import.meta.url))],
}

/** The repository, from dist/test/bench/ . */
const DEFAULT_SOURCE = fileURLToPath(new URL('../../../../shared/tools/loadgen.c', import.meta.url))

/**
 * @param path a compiled loadgen, or its source; undefined: the source where it usually lies, if it is there
 * @throws Error when what was asked for cannot be used
 */
export function findGenerator(path: string | undefined): LoadGenerator {
  if (path === undefined && !(existsSync(DEFAULT_SOURCE) && isInstalled('gcc'))) return OWN
  const file = resolve(path ?? DEFAULT_SOURCE)
  if (!existsSync(file)) throw new Error(`--loadgen ${file}: there is no such file`)
  const command = file.endsWith('.c') ? compile(file) : file
  return { name: 'loadgen.c', command, args: [] }
}

/** The generator that can number its frames. */
export function ownGenerator(): LoadGenerator {
  return OWN
}

function compile(source: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-loadgen-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const binary = join(folder, 'loadgen')
  const { status, stderr } = spawnSync('gcc', ['-O2', '-o', binary, source], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${source} cannot be compiled: ${stderr}`)
  return binary
}

/** Runs it once. A report in two lines is merged. @throws Error when it reports nothing */
export async function runLoad(
  generator: LoadGenerator,
  args: readonly string[],
  cores: string | undefined,
): Promise<Figures> {
  const { command } = generator
  const output = await new PinnedProcess({ command, args: [...generator.args, ...args], cores }).output()
  const merged: Record<string, unknown> = {}
  for (const line of output.split('\n')) if (line.startsWith('{')) Object.assign(merged, JSON.parse(line))
  return merged
}
