/** SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 sections 3.8 and 3.10). */

import type { FilterRequest, SubscribePacket, UnsubscribePacket } from '../../../proto/mqtt/decode.js'
import { encodeSuback, encodeUnsuback } from '../../../proto/mqtt/encode.js'
import { malformed, protocolError, Reason } from '../../../proto/mqtt/packet.js'
import { isTopicFilter, parseShared } from '../../../proto/topic.js'
import type { SubscriptionOptions } from '../../ports.js'
import { checkLevels } from './access.js'
import type { UplinkOwner } from './uplink.js'

/** What there was in SUBACK before MQTT 5 for "no". */
const FAILURE = 0x80

/**
 * Subscribes, and answers once the other gateways know of the filters; deliveries wait for the answer.
 * @param alive false when the connection is gone by the time of the answer
 * @throws MqttError for filters that are none [MQTT-4.7.1-1], [MQTT-4.8.2-1], [MQTT-3.8.3-4]
 */
export function subscribe(owner: UplinkOwner, packet: SubscribePacket, alive: () => boolean): void {
  const { session, version } = owner
  const levels = owner.context.options.maxTopicLevels
  const filters = owner.bridge ? packet.filters.map(asOfBridge) : packet.filters
  for (const { filter, noLocal } of filters) checkFilter(filter, noLocal, levels)
  const codes: number[] = []
  // One more than the filters, so that a bus that answers at once cannot come before the codes are complete.
  let open = filters.length + 1
  const settled = (): void => {
    if (--open > 0 || !alive()) return
    owner.batch.append(encodeSuback(version, packet.packetId, codes))
    session.release()
  }
  session.hold()
  for (const request of filters) codes.push(subscribeOne(owner, request, packet.subscriptionId, settled))
  const { context } = owner
  if (session.lasting) context.journal?.changed(session)
  settled()
}

/** Before MQTT 5 a bridge cannot ask for what keeps messages from going round in circles. */
function asOfBridge(request: FilterRequest): FilterRequest {
  return { ...request, noLocal: !request.filter.startsWith('$share/'), retainAsPublished: true }
}

function checkFilter(filter: string, noLocal: boolean, levels: number): void {
  checkLevels(filter, levels)
  const shared = parseShared(filter)
  if (shared === 'invalid') throw malformed('a shared subscription is not well formed')
  if (!isTopicFilter(filter)) throw malformed('a topic filter is not well formed')
  // [MQTT-3.8.3-4]
  if (shared !== undefined && noLocal) throw protocolError('No Local on a shared subscription')
}

/** @returns the granted QoS or a reason code */
function subscribeOne(owner: UplinkOwner, request: FilterRequest, id: number, settled: () => void): number {
  const { context, session, version } = owner
  const { filter, qos, noLocal, retainAsPublished, retainHandling } = request
  const denied = owner.access.subscribe(filter)
  if (denied !== 0) {
    context.counters.denied++
    settled()
    return version === 5 ? denied : FAILURE
  }
  session.subscriptions ??= new Map<string, SubscriptionOptions>()
  const { subscriptions } = session
  if (subscriptions.size >= context.options.maxSubscriptions && !subscriptions.has(filter)) {
    settled()
    return version === 5 ? Reason.QUOTA_EXCEEDED : FAILURE
  }
  const options: SubscriptionOptions = { qos, noLocal, retainAsPublished, retainHandling, id }
  try {
    context.fanout.subscribe(session, filter, options, settled)
  } catch (error) {
    context.log.warn({ device: session.device, error: String(error) }, 'a subscription was refused')
    settled()
    return version === 5 ? Reason.QUOTA_EXCEEDED : FAILURE
  }
  subscriptions.set(filter, options)
  session.forgetGrants()
  return qos
}

/** @throws MqttError for filters that are none */
export function unsubscribe(owner: UplinkOwner, packet: UnsubscribePacket): void {
  const { context, session, version } = owner
  for (const filter of packet.filters) checkFilter(filter, false, context.options.maxTopicLevels)
  const codes = packet.filters.map((filter) => {
    session.subscriptions?.delete(filter)
    return context.fanout.unsubscribe(session, filter) ? Reason.SUCCESS : Reason.NO_SUBSCRIPTION_EXISTED
  })
  session.forgetGrants()
  if (session.lasting) context.journal?.changed(session)
  owner.batch.append(encodeUnsuback(version, packet.packetId, codes))
}
