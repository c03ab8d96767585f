/** Who may publish and subscribe to what, by topic filters. */

import { SluiceError } from '../../../proto/errors.js'
import { malformed, Reason } from '../../../proto/mqtt/packet.js'
import { isTopicFilter, parseShared, topicMatches } from '../../../proto/topic.js'

/** What one client may do. Reason codes are those of MQTT 5; 0 allows. */
export interface Access {
  publish(topic: string): number
  subscribe(filter: string): number
  /** Asked for each delivery where it is there: a wide filter must not reach what a narrower rule denies. */
  receives?(topic: string): boolean
}

/** Either side of {@link AccessRules}. */
export interface ActionRules {
  /** Topic filters. Once there is one, whatever matches none is denied. */
  readonly allow?: readonly string[]
  /** Topic filters; they win over `allow`. `%c` stands for the client id in both. */
  readonly deny?: readonly string[]
  /** Reason code for what is denied: 0x87 (Not authorized) when absent. */
  readonly reason?: number
}

export interface AccessRules {
  readonly publish?: ActionRules
  readonly subscribe?: ActionRules
}

/**
 * Topics that are the gateway's own: clients may subscribe, but not publish. `$SYS/broker/connection/NAME/state` stays
 * open, as Mosquitto's bridges announce themselves there.
 */
export function isReserved(topic: string): boolean {
  if (topic.charCodeAt(0) !== 0x24) return false
  if (topicMatches('$SYS/broker/connection/+/state', topic)) return false
  return topicMatches('$SYS/#', topic) || topicMatches('$CONTROL/#', topic) || topicMatches('$share/#', topic)
}

/** @throws MqttError for a topic or filter of more levels than `most` */
export function checkLevels(topic: string, most: number): void {
  if (topic.length < most) return
  let levels = 1
  for (let i = topic.indexOf('/'); i >= 0; i = topic.indexOf('/', i + 1)) levels++
  if (levels > most) throw malformed(`a topic has more than ${most} levels`)
}

const EVERYTHING: Access = { publish: () => Reason.SUCCESS, subscribe: () => Reason.SUCCESS }

/** @throws SluiceError `bad_request` naming the filter or the reason at fault */
export function checkRules(rules: AccessRules): void {
  for (const action of ['publish', 'subscribe'] as const) {
    const { allow = [], deny = [], reason = Reason.NOT_AUTHORIZED } = rules[action] ?? {}
    for (const [list, filters] of Object.entries({ allow, deny })) {
      for (const [i, filter] of filters.entries()) {
        if (isTopicFilter(filter)) continue
        const path = `mqttRules.${action}.${list}.${i}`
        throw new SluiceError('bad_request', `${path}: ${filter} is not a topic filter`, { path })
      }
    }
    if (Number.isInteger(reason) && reason >= 0x80 && reason <= 0xff) continue
    const path = `mqttRules.${action}.reason`
    throw new SluiceError('bad_request', `${path}: a reason code that refuses is from 128 to 255`, { path })
  }
}

/**
 * Makes the access of each client by one set of rules: one for all, where the rules do not speak of the client's id.
 * @throws SluiceError see {@link checkRules}
 */
export function createAccessMaker(rules: AccessRules): (device: string) => Access {
  checkRules(rules)
  if (rules.publish === undefined && rules.subscribe === undefined) return () => EVERYTHING
  if (JSON.stringify(rules).includes('%c')) return (device) => createAccess(rules, device)
  const shared = createAccess(rules, '')
  return () => shared
}

/** Access by one set of rules; without rules everything is allowed. */
export function createAccess(rules: AccessRules, device: string): Access {
  const publish = compile(rules.publish, device)
  const subscribe = compile(rules.subscribe, device)
  const restricted = (rules.subscribe?.deny?.length ?? 0) > 0
  return {
    ...(restricted && { receives: remembered((topic) => subscribe(topic, topicMatches) === Reason.SUCCESS) }),
    publish: (topic) => publish(topic, topicMatches),
    subscribe: (filter) => {
      const shared = parseShared(filter)
      const plain = shared === undefined || shared === 'invalid' ? filter : shared.filter
      return subscribe(plain, covers)
    },
  }
}

/** Topics repeat: the last answer is kept. */
function remembered(ask: (topic: string) => boolean): (topic: string) => boolean {
  let last: string | undefined
  let answer = false
  return (topic) => {
    if (topic !== last) {
      last = topic
      answer = ask(topic)
    }
    return answer
  }
}

type Test = (rule: string, subject: string) => boolean

function compile(rules: ActionRules | undefined, device: string): (subject: string, test: Test) => number {
  if (rules === undefined) return () => Reason.SUCCESS
  // A client id with wildcards or levels in it must not widen a rule.
  const own = /[+#/]/.test(device) ? undefined : device
  const expand = (list: readonly string[] | undefined): string[] | undefined =>
    list?.flatMap((rule) => (rule.includes('%c') ? (own === undefined ? [] : [rule.replaceAll('%c', own)]) : [rule]))
  const allow = expand(rules.allow)
  const deny = expand(rules.deny) ?? []
  const reason = rules.reason ?? Reason.NOT_AUTHORIZED
  return (subject, test) => {
    if (deny.some((rule) => test(rule, subject))) return reason
    return allow === undefined || allow.some((rule) => test(rule, subject)) ? Reason.SUCCESS : reason
  }
}

/** True when every topic that `filter` matches is matched by `rule` too. */
export function covers(rule: string, filter: string): boolean {
  const wide = rule.split('/')
  const narrow = filter.split('/')
  for (let i = 0; i < wide.length; i++) {
    const level = wide[i]
    if (level === '#') return true
    const other = narrow[i]
    if (other === undefined || other === '#') return false
    if (level !== '+' && level !== other) return false
  }
  return wide.length === narrow.length
}
