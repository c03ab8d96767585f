/** `npm run bench`: Sluice beside what people would take instead. docs/benchmarks.md tells how to read it. */

import { parseArgs } from 'node:util'
import { CASES } from './bench-case.js'
import { updateDocuments } from './documents.js'
import { type CaseResult, runCase } from './interleaved.js'
import { findGenerator } from './load-generator.js'
import { describeMachine, divideCores } from './machine.js'
import { describe, renderCase } from './report.js'

const HELP = `npm run bench -- [options]
  --case NAME     only this case (repeatable, or several with commas): ${CASES.map(({ name }) => name).join(' ')}
  --only NAME     only contenders whose name begins like this (repeatable)
  --runs N        runs of each contender, in turn (3)
  --secs T        seconds of one run (4)
  --quick         one run of 1 s
  --loadgen PATH  a compiled loadgen, or its .c file (default ../shared/tools/loadgen.c, else a generator in JavaScript)
  --write         put the results into docs/benchmarks.md, .json and .svg
  --json          print results as JSON
`

const TEXT = { type: 'string' } as const
const FLAG = { type: 'boolean', default: false } as const

const { values } = parseArgs({
  options: {
    case: { ...TEXT, multiple: true },
    only: { ...TEXT, multiple: true },
    runs: { ...TEXT, default: '3' },
    secs: { ...TEXT, default: '4' },
    loadgen: TEXT,
    quick: FLAG,
    write: FLAG,
    json: FLAG,
    help: FLAG,
  },
})

process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

if (values.help) process.stdout.write(HELP)
else await bench()
process.exit(0)

async function bench(): Promise<void> {
  const machine = await describeMachine()
  const say = (text: string) => void (values.json || process.stdout.write(text))
  say(`${describe(machine)}\n\n`)
  const cases: CaseResult[] = []
  const plan = {
    runs: values.quick ? 1 : Number(values.runs),
    duration: values.quick ? { warm: 0.5, secs: 1 } : { warm: 1, secs: Number(values.secs) },
    cores: divideCores(machine.cores),
    generator: findGenerator(values.loadgen),
    progress: (text: string) => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`)),
  }
  for (const wanted of chosenCases()) {
    const result = await runCase(wanted, plan)
    cases.push(result)
    plan.progress('')
    say(`${renderCase(result)}\n`)
  }
  const report = { machine, date: new Date().toISOString(), cases }
  if (values.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  if (values.write) await updateDocuments(report)
}

function chosenCases() {
  const names = values.case?.flatMap((text) => text.split(','))
  const unknown = names?.find((name) => !CASES.some((one) => one.name === name))
  if (unknown !== undefined) {
    process.stderr.write(`there is no case ${unknown}\n${HELP}`)
    process.exit(2)
  }
  const { only } = values
  const chosen = CASES.filter(({ name }) => names?.includes(name) ?? true)
  if (only === undefined) return chosen
  return chosen.map((one) => ({
    ...one,
    contenders: one.contenders.filter(({ name }) =>
      only.some((start) => name.toLowerCase().startsWith(start.toLowerCase())),
    ),
  }))
}
