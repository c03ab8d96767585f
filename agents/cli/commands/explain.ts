/** `sluice explain DEVICE`: why its frames go where they go, connected or not. */

import { Command, Option } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { withAdminFlags } from '../flags.js'
import { print } from '../print.js'

interface ExplainFlags extends AdminOptions {
  readonly json: boolean
  readonly topic?: string
  readonly protocol?: string
  readonly type?: string
}

export function explainCommand(): Command {
  const command = new Command('explain')
    .description('why the frames of a device go where they go, whether it is connected or not')
    .argument('<device>', 'device id')
    .option('--topic <topic>', 'topic of the frame')
    .addOption(new Option('--type <type>', 'kind of frame; data unless given').choices(['data', 'publish']))
    .addOption(new Option('--protocol <protocol>', 'protocol of the device').choices(['websocket', 'mqtt']))
  return withAdminFlags(command).action(async (device: string, flags: ExplainFlags) => {
    const query = new URLSearchParams()
    for (const name of ['topic', 'protocol', 'type'] as const)
      if (flags[name] !== undefined) query.set(name, flags[name])
    const path = `/v1/explain/${encodeURIComponent(device)}${query.size > 0 ? `?${query}` : ''}`
    const answer = (await createAdminClient(flags).get(path)) as Record<string, unknown>
    print(flags.json, answer, renderExplanation)
  })
}

/** The answer in words first, then the facts behind it. */
function renderExplanation({ words, ...facts }: Record<string, unknown>): string {
  const sentences = Array.isArray(words) ? words.map(String) : []
  return [...sentences, ...(sentences.length > 0 ? [''] : []), ...renderFacts(facts)].join('\n')
}

/** Nested data as indented `name  value` lines. */
export function renderFacts(facts: Record<string, unknown>, indent = ''): string[] {
  const shown = Object.entries(facts).filter(([, value]) => !isEmpty(value))
  const width = Math.max(0, ...shown.filter(([, value]) => !isRecord(value)).map(([name]) => name.length))
  return shown.flatMap(([name, value]) => {
    if (isRecord(value)) return [`${indent}${name}`, ...renderFacts(value, `${indent}  `)]
    if (Array.isArray(value) && value.some(isRecord)) {
      return [`${indent}${name}`, ...value.flatMap((one) => renderItem(one, `${indent}  `))]
    }
    return [`${indent}${name.padEnd(width)}  ${Array.isArray(value) ? value.join(', ') : String(value)}`]
  })
}

function renderItem(item: unknown, indent: string): string[] {
  if (!isRecord(item)) return [`${indent}- ${String(item)}`]
  const [first, ...rest] = renderFacts(item, `${indent}  `)
  return [`${indent}- ${(first ?? '').trimStart()}`, ...rest]
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
