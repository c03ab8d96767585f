/**
 * `--config FILE`: YAML or JSON with one section for each command that runs something. Its keys are that command's flags;
 * a flag on the command line or in the environment wins. What is no flag (limits of the edges) stands there too.
 */

import type { Command, Option } from 'commander'
import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { CliError, ExitCode } from './cli-error.js'

/** Names of the sections. */
const SECTIONS = ['up', 'coordinator', 'gateway', 'worker', 'device'] as const

/** Settings that are no flags: a value of this type, a group of them, or a list of such. */
export type SettingKind =
  | 'number'
  | 'boolean'
  | 'string'
  | { readonly [name: string]: SettingKind }
  | { readonly listOf: SettingKind }

export class ConfigFile {
  readonly #name: string
  readonly #document: Document
  readonly #lines = new LineCounter()

  constructor(name: string, text: string) {
    this.#name = name
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    const broken = this.#document.errors[0]
    if (broken !== undefined) throw this.#wrong(broken.pos[0], [], broken.message)
  }

  async apply(command: Command, settings: Readonly<Record<string, SettingKind>>): Promise<void> {
    const content: unknown = this.#document.toJS({ maxAliasCount: 100 }) ?? {}
    for (const name of Object.keys(this.#record(content, []))) {
      if (!SECTIONS.some((section) => section === name)) throw await this.#unknown([name], SECTIONS)
    }
    const section = (content as Record<string, unknown>)[command.name()] ?? {}
    const found: Record<string, unknown> = {}
    for (const [key, value] of Object.entries(this.#record(section, [command.name()]))) {
      const path = [command.name(), key]
      const option = command.options.find((one) => one.attributeName() === camel(key) && one.long !== '--config')
      if (option !== undefined) this.#setFlag(command, option, value, path)
      else if (Object.hasOwn(settings, key)) found[key] = await this.#setting(value, settings[key] as SettingKind, path)
      else
        throw await this.#unknown(path, [
          ...command.options.map((one) => one.attributeName()),
          ...Object.keys(settings),
        ])
    }
    command.setOptionValueWithSource('settings', found, 'config')
  }

  #setFlag(command: Command, option: Option, value: unknown, path: readonly string[]): void {
    const name = option.attributeName()
    const source = command.getOptionValueSource(name)
    if (source !== undefined && source !== 'default') return
    try {
      command.setOptionValueWithSource(name, flagValue(option, value), 'config')
    } catch (error) {
      throw this.#wrong(this.#offsetOf(path), path, (error as Error).message)
    }
  }

  async #setting(value: unknown, kind: SettingKind, path: readonly string[]): Promise<unknown> {
    if (typeof kind === 'string') {
      if (typeof value === kind) return value
      throw this.#wrong(this.#offsetOf(path), path, `must be a ${kind}, not ${JSON.stringify(value)}`)
    }
    if (isList(kind)) {
      if (!Array.isArray(value)) throw this.#wrong(this.#offsetOf(path), path, 'must be a list')
      return Promise.all(value.map((one, at) => this.#setting(one, kind.listOf, [...path, String(at)])))
    }
    const found: Record<string, unknown> = {}
    for (const [key, inner] of Object.entries(this.#record(value, path))) {
      if (!Object.hasOwn(kind, key)) throw await this.#unknown([...path, key], Object.keys(kind))
      found[key] = await this.#setting(inner, kind[key] as SettingKind, [...path, key])
    }
    return found
  }

  #record(value: unknown, path: readonly string[]): Record<string, unknown> {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
    throw this.#wrong(this.#offsetOf(path), path, 'must be a record of keys')
  }

  async #unknown(path: readonly string[], known: readonly string[]): Promise<CliError> {
    // Loaded here: only a mistake needs it.
    const { nearest } = await import('../coordinator/routes-problem.js')
    const near = nearest(path.at(-1) ?? '', known)
    const hint = near === undefined ? `known here: ${known.join(', ')}` : `did you mean ${near}?`
    return this.#wrong(this.#offsetOf(path), path, `there is no such setting; ${hint}`)
  }

  #wrong(offset: number, path: readonly string[], message: string): CliError {
    const { line, col } = this.#lines.linePos(offset)
    const at = `${this.#name}:${Math.max(1, line)}:${Math.max(1, col)}`
    const what = path.length === 0 ? 'the file' : path.join('.')
    return new CliError(`${at} ${what}: ${message}`, { exitCode: ExitCode.USAGE })
  }

  #offsetOf(path: readonly string[]): number {
    let node: unknown = this.#document.contents
    let offset = 0
    for (const key of path) {
      if (isSeq(node)) {
        node = node.items[Number(key)]
        offset = (node as Node | undefined)?.range?.[0] ?? offset
        continue
      }
      if (!isMap(node)) return offset
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      if (pair === undefined) return offset
      offset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value
    }
    return offset
  }
}

/** The value that the flag would have had on the command line. @throws Error saying what is needed */
function flagValue(option: Option, value: unknown): unknown {
  if (option.isBoolean()) {
    if (typeof value === 'boolean') return value
    throw new Error(`must be true or false, not ${JSON.stringify(value)}`)
  }
  if (option.variadic) {
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
    throw new Error('must be a list of texts')
  }
  if (typeof value !== 'string' && typeof value !== 'number') throw new Error('must be a text or a number')
  const text = String(value)
  if (option.argChoices !== undefined && !option.argChoices.includes(text)) {
    throw new Error(`must be one of ${option.argChoices.join(', ')}, not ${text}`)
  }
  const parse = option.parseArg as ((text: string, previous: unknown) => unknown) | undefined
  return option.argChoices === undefined && parse !== undefined ? parse(text, undefined) : text
}

function isList(kind: Exclude<SettingKind, string>): kind is { readonly listOf: SettingKind } {
  return Object.hasOwn(kind, 'listOf')
}

function camel(key: string): string {
  return key.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
