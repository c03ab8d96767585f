// The reporter of `npm test`: one line per test file, failures in full, and `N passed, N failed, N skipped` at the end.
// What it counts are tests: every `t.test` that holds no other one, and every file that holds none.
import { Transform } from 'node:stream'
import { Parser } from 'tap-parser'
import { stringify } from 'yaml'

/** Keys of a failed assertion's diagnostics that repeat what is printed anyway. */
const NOISE = new Set(['source', 'compare', 'tapCaught', 'stdio', 'cwd', 'externalID', 'command', 'args', 'jobId'])

export default class ClosingLine extends Transform {
  #parser = new Parser({ name: 'all' })
  #counts = { passed: 0, failed: 0, skipped: 0 }
  #failures = []
  #suite = { ok: true, bailout: undefined }

  constructor() {
    super()
    this.#parser.on('child', (file) => this.#watch(file, [file.name]))
    this.#parser.on('assert', (result) => this.#fileEnded(result))
    this.#parser.on('bailout', (reason) => {
      this.#suite.bailout = reason
    })
    this.#parser.on('complete', (results) => {
      this.#suite.ok = results.ok
    })
  }

  _transform(chunk, _encoding, done) {
    this.#parser.write(chunk)
    done()
  }

  _flush(done) {
    this.#parser.end()
    const { passed, skipped } = this.#counts
    // Something outside every test went wrong: a bailout, a broken plan. It must not read as a success.
    if (!this.#suite.ok && this.#counts.failed === 0) this.#fail(['the run itself'], [], this.#suite.bailout)
    if (this.#failures.length > 0) this.push(`\nfailed:\n${this.#failures.map((name) => `  ${name}\n`).join('')}`)
    this.push(`\n${passed} passed, ${this.#counts.failed} failed, ${skipped} skipped\n`)
    done()
  }

  /** Follows one test and those inside it; the counts change when it ends. */
  #watch(test, path) {
    const broken = []
    let inner = 0
    const before = { ...this.#counts }
    test.on('child', (child) => {
      inner++
      this.#watch(child, [...path, child.name])
    })
    test.on('assert', (result) => {
      if (result.closingTestPoint) return
      if (result.skip || result.todo) {
        inner++
        this.#counts.skipped++
      } else if (!result.ok) broken.push(result)
    })
    test.on('complete', (results) => {
      const failedInside = this.#counts.failed > before.failed
      if (broken.length > 0 || (!results.ok && !failedInside))
        this.#fail(path, broken, results.bailout || undefined, results)
      else if (inner === 0 && results.ok) this.#counts.passed++
    })
  }

  #fail(path, broken, bailout, results) {
    this.#counts.failed++
    const name = path.join(' > ')
    this.#failures.push(name)
    this.push(`\nnot ok ${name}\n`)
    if (bailout !== undefined) this.push(`  bailed out: ${bailout}\n`)
    for (const result of broken)
      this.push(`  ${result.name || 'assertion failed'}\n${indent(diagnostics(result.diag))}`)
    if (broken.length > 0) return
    for (const failure of results?.failures ?? [])
      this.push(indent(diagnostics(failure.diag ?? { failed: failure.name ?? failure.tapError })))
  }

  #fileEnded(result) {
    const seconds = result.time === null ? '' : `  ${(result.time / 1000).toFixed(1)} s`
    this.push(`${result.ok ? 'ok    ' : 'not ok'} ${result.name}${seconds}\n`)
    // A file that dies after its last test reports it only here.
    if (!result.ok && result.diag && !this.#failures.some((name) => name.startsWith(result.name)))
      this.#fail([result.name], [result])
    else if (!result.ok && result.diag?.exitCode !== undefined) this.push(`    exit code ${result.diag.exitCode}\n`)
  }
}

function diagnostics(diag) {
  if (!diag) return ''
  const { diff, ...rest } = diag
  const shown = Object.fromEntries(Object.entries(rest).filter(([key]) => !NOISE.has(key)))
  return `${diff ?? ''}${Object.keys(shown).length > 0 ? stringify(shown) : ''}`
}

const indent = (text) => text.replace(/^(?=.)/gm, '    ')
