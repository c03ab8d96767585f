/** One route, compiled: what it asks of the session once, and what it asks of each frame. */

import type { Route, RouteMatch, RouteTarget, TextMatch } from '../../proto/table.js'
import { topicMatches } from '../../proto/topic.js'
import { headerOf, type SessionAttributes } from './attributes.js'
import { compileText, type TextPredicate } from './text-match.js'

export type FrameKind = 'data' | 'publish'

/** A condition on the session, with the words that explain why it does not hold. */
interface Condition {
  readonly on: string
  readonly wanted: TextMatch
  readonly read: (attributes: SessionAttributes) => string | undefined
  readonly holds: TextPredicate
}

export interface CompiledRoute {
  readonly name: string
  readonly to: readonly RouteTarget[]
  /** MQTT filter of the frame's topic; undefined takes all. */
  readonly topic: string | undefined
  readonly type: FrameKind | undefined
  readonly conditions: readonly Condition[]
}

/** @throws SluiceError `invalid_routes` for a regex that is not understood */
export function compileRoute({ name, match, to }: Route): CompiledRoute {
  return { name, to, topic: match.topic, type: match.type, conditions: conditionsOf(match) }
}

function conditionsOf(match: RouteMatch): Condition[] {
  const found: Condition[] = []
  for (const on of ['protocol', 'gateway', 'region', 'device'] as const) {
    const wanted = match[on]
    if (wanted !== undefined) found.push({ on, wanted, read: (session) => session[on], holds: compileText(wanted) })
  }
  for (const [given, wanted] of Object.entries(match.headers ?? {})) {
    const name = given.toLowerCase()
    const read = (session: SessionAttributes) => headerOf(session, name)
    found.push({ on: `header ${name}`, wanted, read, holds: compileText(wanted) })
  }
  return found
}

/** True when everything that the route asks of the session holds. */
export function takesSession({ conditions }: CompiledRoute, attributes: SessionAttributes): boolean {
  for (const { read, holds } of conditions) if (!holds(read(attributes))) return false
  return true
}

/** True when everything that the route asks of the frame holds. */
export function takesFrame(
  { topic, type }: Pick<CompiledRoute, 'topic' | 'type'>,
  kind: FrameKind,
  name: string,
): boolean {
  return (type === undefined || type === kind) && (topic === undefined || topicMatches(topic, name))
}

/** Why the route does not take this frame of this session, in words; undefined when it does. */
export function refusalOf(
  route: CompiledRoute,
  attributes: SessionAttributes,
  kind: FrameKind,
  topic: string,
): string | undefined {
  for (const { on, wanted, read, holds } of route.conditions) {
    const value = read(attributes)
    if (holds(value)) continue
    return `${on} is ${value === undefined ? 'absent' : JSON.stringify(value)}, not ${inWords(wanted)}`
  }
  if (route.type !== undefined && route.type !== kind) return `the frame is ${kind}, not ${route.type}`
  if (takesFrame(route, kind, topic)) return undefined
  return topic === ''
    ? `the frame has no topic, not ${route.topic}`
    : `topic ${JSON.stringify(topic)} does not match ${route.topic}`
}

function inWords(match: TextMatch): string {
  if (typeof match === 'string') return JSON.stringify(match)
  if ('present' in match) return match.present ? 'present' : 'absent'
  const [[form, wanted] = ['', '']] = Object.entries(match)
  return `${form} ${JSON.stringify(wanted)}`
}
