/** The documentation and the code say the same: error codes, dependencies, flags, links. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command, Option } from 'commander'
import t from 'tap'
import { createProgram } from '../agents/cli/program.js'
import { ERRORS } from '../proto/errors.js'

const HERE = dirname(fileURLToPath(import.meta.url))
const ROOT = existsSync(join(HERE, '../package.json')) ? join(HERE, '..') : join(HERE, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

t.test('docs/errors.md lists every code as the table in proto/errors.ts has it, and no other', async (t) => {
  const documented = read('docs/errors.md').match(/^\| `[a-z_]+` \|.*$/gm) ?? []
  const expected = Object.entries(ERRORS).map(
    ([code, { number, status, retryable, fault, summary }]) =>
      `| \`${code}\` | ${number} | ${status} | ${retryable ? 'yes' : 'no'} | ${fault} | ${summary} |`,
  )
  t.same(documented, expected)
})

t.test('docs/dependencies.md has a line for each dependency, and for no other', async (t) => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json'))
  const documented = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1])
  t.same(documented.toSorted(), [...Object.keys(dependencies), ...Object.keys(devDependencies)].toSorted())
})

t.test('docs/configuration.md lists every flag of every command with its default', async (t) => {
  const text = read('docs/configuration.md')
  for (const { path, command } of leaves(createProgram('main.js', '0.0.0'))) {
    const section = sectionOf(text, `sluice ${path}`)
    t.ok(section, `there is a section for sluice ${path}`)
    for (const option of command.options)
      t.ok(section?.includes(flagLine(option)), `sluice ${path}: ${flagLine(option)}`)
  }
})

t.test('every link from one page to another leads somewhere', async (t) => {
  const pages = ['README.md', 'CONTRIBUTING.md', ...markdownBelow('docs'), ...markdownBelow('deploy')]
  for (const page of pages) {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (!existsSync(join(ROOT, dirname(page), target ?? ''))) t.fail(`${page} links to ${target}, which is not there`)
    }
  }
  t.ok(pages.length > 5)
})

t.test('every page of docs/ is in its index', async (t) => {
  const index = read('docs/README.md') + read('docs/decisions/README.md')
  for (const page of markdownBelow('docs').filter((path) => !path.endsWith('README.md'))) {
    t.ok(index.includes(page.replace(/^docs\/(decisions\/)?/, '')), page)
  }
})

function leaves(command: Command, path: string[] = []): { path: string; command: Command }[] {
  if (command.commands.length === 0) return [{ path: path.join(' '), command }]
  return command.commands.flatMap((child) => leaves(child, [...path, child.name()]))
}

function sectionOf(text: string, title: string): string | undefined {
  const start = text.indexOf(`\n### \`${title}`)
  if (start === -1) return undefined
  const end = text.indexOf('\n#', start + 5)
  return text.slice(start, end === -1 ? undefined : end)
}

function flagLine(option: Option): string {
  const shown = option.defaultValue
  const value =
    shown === undefined || shown === false || shown === '' || typeof shown === 'object' ? '' : ` | \`${String(shown)}\``
  return `| \`${option.flags}\`${value || ' | '}`
}

function markdownBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join(folder, file))
}
