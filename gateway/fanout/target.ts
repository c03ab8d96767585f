/**
 * One delivery: who gets a message and how. Made when a subscription is made, so that a publish to ten thousand
 * subscribers allocates nothing.
 */

import type { SubscriptionOptions } from '../ports.js'

export class Target<S> {
  readonly subscriber: S
  readonly qos: 0 | 1 | 2
  readonly retainAsPublished: boolean
  /** Subscription identifiers, undefined for none. */
  readonly ids: readonly number[] | undefined
  /**
   * What applies to a message that the subscriber published itself: this very target as a rule, undefined when
   * every matching subscription is no-local [MQTT-3.8.3-3], another one when some are.
   */
  readonly own: Target<S> | undefined
  /** The native room that serves this subscription instead of a loop; undefined for the loop. */
  room: string | undefined

  private constructor(
    subscriber: S,
    qos: 0 | 1 | 2,
    retainAsPublished: boolean,
    ids: readonly number[] | undefined,
    own: Target<S> | undefined | 'self',
  ) {
    this.subscriber = subscriber
    this.qos = qos
    this.retainAsPublished = retainAsPublished
    this.ids = ids
    this.own = own === 'self' ? this : own
    this.room = undefined
  }

  /** The target of a single subscription. */
  static of<S>(subscriber: S, options: SubscriptionOptions): Target<S> {
    const ids = options.id === 0 ? undefined : [options.id]
    return new Target(subscriber, options.qos, options.retainAsPublished, ids, options.noLocal ? undefined : 'self')
  }

  /**
   * Both targets of one subscriber as one: the higher QoS [MQTT-3.3.4-2], all identifiers [MQTT-3.3.4-4]. The RETAIN
   * flag is kept when either asks for it (the specification leaves that open).
   */
  static merge<S>(a: Target<S>, b: Target<S>): Target<S> {
    const usual = a.own === a && b.own === b
    return Target.#combine(a, b, usual ? 'self' : Target.#mergeOwn(a.own, b.own))
  }

  static #mergeOwn<S>(a: Target<S> | undefined, b: Target<S> | undefined): Target<S> | undefined {
    if (a === undefined || b === undefined) return a ?? b
    return Target.#combine(a, b, 'self')
  }

  static #combine<S>(a: Target<S>, b: Target<S>, own: Target<S> | undefined | 'self'): Target<S> {
    const qos = Math.max(a.qos, b.qos) as 0 | 1 | 2
    const ids = a.ids === undefined ? b.ids : b.ids === undefined ? a.ids : [...a.ids, ...b.ids]
    return new Target(a.subscriber, qos, a.retainAsPublished || b.retainAsPublished, ids, own)
  }
}
