/** Results as text: for the terminal and for docs/benchmarks.md. */

import type { CaseResult } from './interleaved.js'
import type { Machine } from './machine.js'

export interface Report {
  readonly machine: Machine
  /** ISO date. */
  readonly date: string
  readonly cases: readonly CaseResult[]
}

/** Sluice against a peer: above 1 is Sluice ahead, whichever way the metric counts. */
export function ratio(ours: number | undefined, theirs: number | undefined, more: boolean): number | undefined {
  if (ours === undefined || theirs === undefined || ours === 0 || theirs === 0) return undefined
  return more ? ours / theirs : theirs / ours
}

/** One case as aligned lines for a terminal. */
export function renderCase(result: CaseResult): string {
  const cells = tableOf(result)
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)))
  const lines = cells.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  )
  return [`${result.title}`, ...lines, ''].join('\n')
}

/** Every case as Markdown. */
export function renderMarkdown({ machine, date, cases }: Report): string {
  return [
    `Measured on ${date.slice(0, 10)}: ${describe(machine)}. ${busy(machine)}`,
    '',
    ...cases.flatMap(markdownCase),
  ].join('\n')
}

/** The machine in one sentence. */
export function describe(machine: Machine): string {
  const { cores, cpu, cpuFlavour, memoryGb, kernel, node, edge, virtual, pinned } = machine
  const kind = virtual ? ', virtual' : ''
  const pins = pinned ? 'server or gateway pinned to the first core, workers and load to the others' : 'nothing pinned'
  return `${cores} cores (${cpu}, ${cpuFlavour}${kind}), ${memoryGb} GB, ${kernel}, Node ${node}, ${edge}; ${pins}`
}

function busy({ load, cores }: Machine): string {
  const kind =
    load > cores / 4
      ? 'a machine that others used too: compare ratios and CPU a message, not figures'
      : 'a quiet machine'
  return `Load average before the start ${load.toFixed(1)}: ${kind}.`
}

function markdownCase(result: CaseResult): string[] {
  const [head = [], ...rows] = tableOf(result)
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rule = line(head.map((_, i) => (i === 0 ? '---' : '---:')))
  const { name, title, generator, runs, secs } = result
  const how = `\`${name}\`: medians of ${runs} runs of ${secs} s, generator ${generator}.`
  return [`### ${title}`, '', line(head), rule, ...rows.map(line), '', how, '']
}

function tableOf({ metrics, rows }: CaseResult): string[][] {
  const ours = rows.find(({ contender }) => contender.startsWith('Sluice'))
  const head = [
    '',
    ...metrics.map(({ name, unit }) => `${name}, ${unit}`),
    'Sluice is',
    'CPU each, µs',
    'server CPU',
    'load CPU',
  ]
  const body = rows.map((row) => {
    if (row.missing !== undefined && Object.keys(row.values).length === 0)
      return [`${row.contender} (${row.missing})`, ...metrics.map(() => '–'), '', '', '', '']
    const ratios = metrics.map(({ name, more }) => ratio(ours?.values[name], row.values[name], more))
    const compared =
      ours === undefined || row === ours
        ? ''
        : ratios.map((value) => (value === undefined ? '–' : `${value.toFixed(2)} ×`)).join(' / ')
    const trouble = row.troubled > 0 ? ` (${row.troubled} runs with losses)` : ''
    return [
      row.contender + trouble,
      ...metrics.map(({ name }) => number(row.values[name])),
      compared,
      row.serverMicros === undefined ? '–' : row.serverMicros.toFixed(2),
      percent(row.serverCpu),
      percent(row.generatorCpu),
    ]
  })
  return [head, ...body]
}

function number(value: number | undefined): string {
  if (value === undefined) return '–'
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1)
}

function percent(value: number | undefined): string {
  return value === undefined ? '–' : `${Math.round(value)} %`
}
