import { readFileSync } from 'node:fs'
import { createHistogram } from 'node:perf_hooks'

/** Counts messages and latencies while it measures, and what the watched processes use. */
export class Meter {
  readonly #histogram = createHistogram({ lowest: 1, highest: 60_000_000_000, figures: 3 })
  readonly #pids: readonly number[]
  #cpuBefore: number[] = []
  #ownBefore = 0
  measuring = false
  messages = 0
  errors = 0

  constructor(pids: readonly number[]) {
    this.#pids = pids
  }

  /** @param since when it was sent, `performance.now()` */
  received(now: number, since: number): void {
    if (!this.measuring) return
    this.messages++
    this.#histogram.record(Math.max(1, Math.round((now - since) * 1e6)))
  }

  start(): void {
    this.#cpuBefore = this.#pids.map(cpuSeconds)
    this.#ownBefore = ownCpuSeconds()
    this.measuring = true
  }

  /** Latencies in microseconds and CPU in percent, under the names that loadgen.c uses. */
  figures(seconds: number): Record<string, unknown> {
    const us = (percentile: number) => this.#histogram.percentile(percentile) / 1000
    const percent = (cpu: number) => Math.round((cpu / seconds) * 100)
    return {
      avg_us: this.#histogram.mean / 1000,
      p50_us: us(50),
      p90_us: us(90),
      p99_us: us(99),
      p999_us: us(99.9),
      max_us: this.#histogram.max / 1000,
      lg_cpu: percent(ownCpuSeconds() - this.#ownBefore),
      srv_cpu: this.#pids.map((pid, i) => percent(cpuSeconds(pid) - (this.#cpuBefore[i] ?? 0))),
      srv_rss_kb: this.#pids.map(rssKb),
    }
  }
}

function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Processor time that a process used so far; 0 where there is no /proc. */
function cpuSeconds(pid: number): number {
  const text = read(`/proc/${pid}/stat`)
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  // utime and stime (proc(5)), in ticks of 10 ms.
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100
}

/** Resident memory of a process in KiB; 0 where there is no /proc. */
export function rssKb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
