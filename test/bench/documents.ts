/** Keeps docs/benchmarks.json, and from it the table in docs/benchmarks.md and the plot. */

import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { CASES } from './bench-case.js'
import { plot } from './plot.js'
import { type Report, renderMarkdown } from './report.js'

/** The repository, from dist/test/bench/. */
const doc = (name: string) => fileURLToPath(new URL(`../../../docs/${name}`, import.meta.url))
const BEGIN = '<!-- bench: begin -->'
const END = '<!-- bench: end -->'

/** Takes in new results; cases that were not measured now keep the ones they had. */
export async function updateDocuments(fresh: Report): Promise<void> {
  const before = await readReport()
  const known = new Map([...(before?.cases ?? []), ...fresh.cases].map((result) => [result.name, result]))
  const cases = CASES.flatMap(({ name }) => known.get(name) ?? [])
  const report = { ...fresh, cases }
  await writeFile(doc('benchmarks.json'), `${JSON.stringify(report, null, 2)}\n`)
  await writeFile(doc('benchmarks.svg'), plot(cases))
  const page = await readFile(doc('benchmarks.md'), 'utf8')
  const from = page.indexOf(BEGIN)
  const to = page.indexOf(END)
  if (from < 0 || to < from) throw new Error(`docs/benchmarks.md has no place between ${BEGIN} and ${END}`)
  const table = renderMarkdown(report)
  await writeFile(doc('benchmarks.md'), `${page.slice(0, from + BEGIN.length)}\n\n${table}\n${page.slice(to)}`)
}

async function readReport(): Promise<Report | undefined> {
  try {
    return JSON.parse(await readFile(doc('benchmarks.json'), 'utf8')) as Report
  } catch {
    return undefined
  }
}
