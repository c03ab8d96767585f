/** What lies in deploy/ parses, and every command in it exists with the flags it uses. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { createProgram } from '../agents/cli/program.js'

const HERE = dirname(fileURLToPath(import.meta.url))
const ROOT = existsSync(join(HERE, '../package.json')) ? join(HERE, '..') : join(HERE, '../..')
const read = (path: string) => readFileSync(join(ROOT, 'deploy', path), 'utf8')

/** Complaints about the arguments of one `sluice …` call. */
function complaints(args: readonly string[]): string[] {
  const program: Command = createProgram('main.js', '0.0.0')
  const command = program.commands.find((one) => one.name() === args[0])
  if (command === undefined) return [`there is no command ${args[0]}`]
  const flags = args.filter((arg) => arg.startsWith('--')).map((arg) => arg.split('=')[0])
  return flags
    .filter((flag) => !command.options.some((option) => option.long === flag))
    .map((flag) => `${args[0]} has no ${flag}`)
}

interface Manifest {
  apiVersion?: string
  kind?: string
  metadata?: { name?: string }
  spec?: { template?: { spec?: { containers: { args: string[] }[] } } }
}

t.test('the Kubernetes manifests parse, and their containers call commands that exist', async (t) => {
  const files = readdirSync(join(ROOT, 'deploy/kubernetes')).filter((file) => file.endsWith('.yaml'))
  const calls = files.flatMap((file) =>
    parseAllDocuments(read(join('kubernetes', file))).flatMap((document) => {
      t.same(document.errors, [], file)
      const manifest = document.toJS() as Manifest
      t.ok(manifest.apiVersion && manifest.kind && manifest.metadata?.name, `${file}: apiVersion, kind and name`)
      return manifest.spec?.template?.spec?.containers.map((container) => container.args) ?? []
    }),
  )
  t.equal(calls.length, 3)
  for (const args of calls) t.same(complaints(args), [])
})

t.test('the compose file parses, and its services call commands that exist', async (t) => {
  const { services } = parse(read('compose.yaml'), { merge: true }) as {
    services: Record<string, { command: string[] }>
  }
  for (const [name, { command }] of Object.entries(services)) {
    const line = command.length === 1 ? (command[0] ?? '').split(' ').slice(2) : command
    t.same(complaints(line), [], name)
  }
})

t.test('the systemd units have their sections and call commands that exist', async (t) => {
  for (const file of readdirSync(join(ROOT, 'deploy/systemd'))) {
    const lines = read(join('systemd', file))
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    t.same(
      lines.filter((line) => line.startsWith('[')),
      ['[Unit]', '[Service]', '[Install]'],
      file,
    )
    t.same(
      lines.filter((line) => !/^(\[\w+\]|[A-Z]\w+=.+)$/.test(line)),
      [],
      file,
    )
    const start = lines.find((line) => line.startsWith('ExecStart=')) ?? ''
    t.same(complaints(start.split(' ').slice(2)), [], file)
  }
})

t.test('the Dockerfile has only instructions, and starts a file that the build makes', async (t) => {
  const lines = read('Dockerfile')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const known = /^(FROM|ENV|WORKDIR|COPY|RUN|USER|VOLUME|EXPOSE|STOPSIGNAL|ENTRYPOINT|CMD) /
  t.same(
    lines.filter((line) => !known.test(line)),
    [],
  )
  const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  t.ok(read('Dockerfile').includes(`"/sluice/${bin.sluice}"`))
})

t.test('a flag that does not exist is found', async (t) => {
  t.same(complaints(['gateway', '--mqtt-prot', '1883']), ['gateway has no --mqtt-prot'])
  t.same(complaints(['gatway']), ['there is no command gatway'])
})
