/** Runs the contenders of a case in turn, so that a machine that is slow for a while is slow for all of them. */

import type { BenchCase, Duration, Metric } from './bench-case.js'
import type { Contender, Cores, Running } from './contenders/contender.js'
import { type Figures, type LoadGenerator, ownGenerator, runLoad } from './load-generator.js'

/** One contender's medians. */
export interface Row {
  readonly contender: string
  /** By metric name; absent where the runs did not yield it. */
  readonly values: Readonly<Record<string, number>>
  /** Median percent of a core that the server and the generator took. */
  readonly serverCpu: number | undefined
  readonly generatorCpu: number | undefined
  /** Microseconds of the server's processor time for one message: what a busy machine changes least. */
  readonly serverMicros: number | undefined
  /** Runs that lost a connection or a message, or did not come to an end. */
  readonly troubled: number
  /** Why there is no figure. */
  readonly missing?: string
}

export interface CaseResult {
  readonly name: string
  readonly title: string
  readonly metrics: readonly Pick<Metric, 'name' | 'unit' | 'more'>[]
  readonly rows: readonly Row[]
  readonly generator: string
  readonly runs: number
  readonly secs: number
}

export interface Interleaving {
  readonly runs: number
  readonly duration: Duration
  readonly cores: Cores
  readonly generator: LoadGenerator
  /** Told before each run. */
  progress(text: string): void
}

interface Lane {
  readonly contender: Contender
  running: Running | undefined
  readonly runs: Figures[]
  missing: string | undefined
}

/** Measures one case. A contender that fails is left out, with the reason in its row. */
export async function runCase(bench: BenchCase, plan: Interleaving): Promise<CaseResult> {
  const lanes = bench.contenders.map(
    (contender): Lane => ({ contender, running: undefined, runs: [], missing: contender.missing() }),
  )
  const generator = bench.ownGenerator ? ownGenerator() : plan.generator
  try {
    for (let run = 0; run < plan.runs; run++)
      for (const lane of lanes) if (lane.missing === undefined) await runOnce(bench, lane, generator, plan, run)
  } finally {
    for (const { running } of lanes) await running?.stop()
  }
  const metrics = bench.metrics.map(({ name, unit, more }) => ({ name, unit, more }))
  const rows = lanes.map((lane) => toRow(bench, lane))
  const { name, title } = bench
  return { name, title, metrics, rows, generator: generator.name, runs: plan.runs, secs: plan.duration.secs }
}

async function runOnce(
  bench: BenchCase,
  lane: Lane,
  generator: LoadGenerator,
  plan: Interleaving,
  run: number,
): Promise<void> {
  const { contender } = lane
  plan.progress(`${bench.name} ${run + 1}/${plan.runs} ${contender.name}`)
  try {
    const cores = bench.unpinned ? { server: undefined, rest: undefined } : plan.cores
    lane.running ??= await contender.start(cores)
    const args = bench.args(lane.running, contender, plan.duration)
    lane.runs.push(await runLoad(generator, args, cores.rest))
    if (!bench.fresh) return
    await lane.running.stop()
    lane.running = undefined
  } catch (error) {
    lane.missing = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
  }
}

function toRow(bench: BenchCase, { contender, runs, missing }: Lane): Row {
  const values: Record<string, number> = {}
  for (const { name, read } of bench.metrics) {
    const value = median(runs.map(read))
    if (value !== undefined) values[name] = value
  }
  return {
    contender: contender.name,
    values,
    serverCpu: median(runs.map(({ srv_cpu }) => srv_cpu?.[0])),
    generatorCpu: median(runs.map(({ lg_cpu }) => lg_cpu)),
    serverMicros: median(runs.map(microsPerMessage)),
    troubled: runs.filter(({ failed = 0, lost = 0, errors = 0 }) => failed + lost + errors > 0).length,
    ...(missing === undefined ? {} : { missing }),
  }
}

/** One percent of a core is 10,000 µs a second. */
function microsPerMessage({ srv_cpu, msgs_per_s, deliveries_per_s }: Figures): number | undefined {
  const [cpu] = srv_cpu ?? []
  const perSecond = msgs_per_s ?? deliveries_per_s ?? 0
  return cpu === undefined || perSecond === 0 ? undefined : (cpu * 10_000) / perSecond
}

/** The middle one; of an even number the mean of the two. */
export function median(values: readonly (number | undefined)[]): number | undefined {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2
}
