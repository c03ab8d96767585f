/** What a bridge to an upstream MQTT broker is told, and the checks of it. */

import { SluiceError } from '../../proto/errors.js'
import { isTopicFilter } from '../../proto/topic.js'

/** Which topics cross, which way, and what they are called on either side. */
export interface BridgeRuleOptions {
  /** MQTT topic filter, without the prefixes. */
  readonly topic: string
  /** `in`: from the upstream broker to here; `out`: from here to it; `both` when absent. */
  readonly direction?: 'in' | 'out' | 'both'
  /** Before the topic here, as it is: it needs its own `/` at the end. */
  readonly localPrefix?: string
  /** Before the topic at the upstream broker. */
  readonly remotePrefix?: string
  /** The most that a message crosses with; 0 when absent. */
  readonly qos?: 0 | 1 | 2
}

/** Files are PEM. */
export interface BridgeTls {
  readonly caFile?: string
  readonly certFile?: string
  readonly keyFile?: string
  /** Name that the broker's certificate must carry, when it is not the URL's. */
  readonly serverName?: string
  /** False: take any certificate. */
  readonly verify?: boolean
}

export interface BridgeOptions {
  /** Letters, digits, `-` and `_`; unique on its gateway. */
  readonly name: string
  /** `mqtt:`, `mqtts:`, `ws:` or `wss:`. */
  readonly url: string
  readonly rules: readonly BridgeRuleOptions[]
  readonly username?: string
  readonly password?: string
  /** `sluice-NAME` when absent. The same on every gateway, so that the broker itself lets only one in. */
  readonly clientId?: string
  readonly tls?: BridgeTls
  /** 5 when absent, with 3.1.1 (`4`) tried when the broker refuses it. */
  readonly protocolVersion?: 4 | 5
  /** `one` (the default): one gateway of the fleet runs it, another takes over; `here`: every gateway that has it runs it. */
  readonly runs?: 'one' | 'here'
  /** Messages for the broker that wait here at most; 10,000 when absent. */
  readonly maxQueued?: number
  /** Bytes of them; 16 MiB when absent. */
  readonly maxQueuedBytes?: number
  /** How long the broker keeps what it has for us while we are away, seconds; an hour when absent. */
  readonly sessionExpiry?: number
}

const SCHEMES = ['mqtt:', 'mqtts:', 'ws:', 'wss:']
const MAX_RULES = 1000

/** @throws SluiceError `bad_request` with the path at fault */
export function checkBridges(bridges: readonly BridgeOptions[]): void {
  const names = new Set<string>()
  for (const [at, bridge] of bridges.entries()) {
    const path = `bridges[${at}]`
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(bridge.name ?? ''))
      refuse(`${path}.name`, 'a bridge needs a name of letters, digits, - and _')
    if (names.has(bridge.name)) refuse(`${path}.name`, `there is another bridge ${bridge.name}`)
    names.add(bridge.name)
    checkBridge(bridge, path)
  }
}

function checkBridge(bridge: BridgeOptions, path: string): void {
  const { url = '', rules = [], runs = 'one', protocolVersion = 5 } = bridge
  if (!URL.canParse(url) || !SCHEMES.includes(new URL(url).protocol))
    refuse(`${path}.url`, 'the upstream broker must be a URL such as mqtts://broker.example:8883')
  if (runs !== 'one' && runs !== 'here') refuse(`${path}.runs`, 'runs must be one or here')
  if (protocolVersion !== 4 && protocolVersion !== 5)
    refuse(`${path}.protocolVersion`, 'protocolVersion must be 4 (MQTT 3.1.1) or 5')
  for (const name of ['maxQueued', 'maxQueuedBytes', 'sessionExpiry'] as const) {
    const value = bridge[name]
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= 0xffffffff))
      refuse(`${path}.${name}`, `${name} must be a whole number from 0 to 4294967295`)
  }
  if ((bridge.tls?.certFile === undefined) !== (bridge.tls?.keyFile === undefined))
    refuse(`${path}.tls`, 'certFile and keyFile must be given together')
  if (rules.length === 0 || rules.length > MAX_RULES) refuse(`${path}.rules`, `1 to ${MAX_RULES} rules are needed`)
  for (const [at, rule] of rules.entries()) checkRule(rule, `${path}.rules[${at}]`)
}

function checkRule(rule: BridgeRuleOptions, path: string): void {
  const { topic = '', direction = 'both', localPrefix = '', remotePrefix = '', qos = 0 } = rule
  if (!isTopicFilter(topic) || topic.startsWith('$share/'))
    refuse(`${path}.topic`, `${JSON.stringify(topic)} is no topic filter`)
  if (!['in', 'out', 'both'].includes(direction)) refuse(`${path}.direction`, 'direction must be in, out or both')
  if (![0, 1, 2].includes(qos)) refuse(`${path}.qos`, 'qos must be 0, 1 or 2')
  for (const [name, prefix] of Object.entries({ localPrefix, remotePrefix })) {
    if (/[+#\0]/.test(prefix)) refuse(`${path}.${name}`, 'a prefix has no wildcards')
    // `a` before `+/b` would make `a+/b`, which is no filter any more.
    if (!isTopicFilter(prefix + topic)) refuse(`${path}.${name}`, `${prefix + topic} is no topic filter`)
  }
}

function refuse(path: string, problem: string): never {
  throw new SluiceError('bad_request', `${path}: ${problem}`, { path })
}
