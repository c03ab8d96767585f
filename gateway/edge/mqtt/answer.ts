import type { FrameView } from '../../../proto/frame.js'
import { Reason } from '../../../proto/mqtt/packet.js'
import { isTopicName } from '../../../proto/topic.js'
import type { Fanout, MessageProperties } from '../../ports.js'
import { type Access, isReserved } from './access.js'
import type { MqttCounters } from './counters.js'
import { DeviceMessage } from './message.js'
import type { MqttSession } from './session.js'

/**
 * A worker's frame as a message for its client: on the response topic of the latest request with the same topic, else
 * on TOPIC/reply (design section 3). Headers become user properties.
 * @returns undefined when the frame cannot become a message: no valid topic
 */
export function answerTo(view: FrameView, session: MqttSession, now: number, qos: 0 | 1): DeviceMessage | undefined {
  let topic: string
  let headers: Record<string, string> | undefined
  try {
    topic = view.topic()
    headers = view.headerCount > 0 ? view.headers() : undefined
  } catch {
    return undefined
  }
  const reply = session.replies?.find(topic)
  const to = reply?.topic ?? `${topic}/reply`
  if (!isTopicName(to)) return undefined
  const properties: MessageProperties = {}
  if (reply?.correlation !== undefined) properties.correlationData = reply.correlation
  if (headers !== undefined) properties.user = Object.entries(headers)
  const bare = reply?.correlation === undefined && headers === undefined
  return new DeviceMessage(to, Uint8Array.from(view.payload()), qos, false, '', bare ? undefined : properties, now)
}

/** The client whose worker answered. */
export interface Asker {
  readonly session: MqttSession
  readonly access: Access
  readonly context: { readonly counters: MqttCounters; readonly now: number; readonly fanout: Fanout }
}

/**
 * Hands a worker's frame to its client when the client subscribed to where it goes, else to everybody who did: the
 * asker need not be the one that listens (`mosquitto_pub` beside a `mosquitto_sub`).
 * @param seq 0, or what is confirmed when the client has it; at QoS 1 where the subscription allows
 */
export function deliverAnswer(view: FrameView, seq: number, asker: Asker): void {
  const { session, context } = asker
  if (seq > 0 && !session.takeSeq(seq)) return
  const answer = answerTo(view, session, context.now, seq > 0 ? 1 : 0)
  const granted = answer === undefined ? -1 : session.grantedQos(answer.topic)
  if (answer !== undefined && granted < 0) {
    publishAnswer(answer, asker, seq)
    return
  }
  if (answer !== undefined && seq > 0 && granted > 0) {
    session.deliverSeq(answer, seq)
    return
  }
  if (answer === undefined) context.counters.droppedUnsubscribed++
  else session.deliver(answer, 0, false, undefined)
  if (seq > 0) session.confirm(seq)
}

/** For others to hear: what the client itself may publish there, so that a response topic opens no door. */
function publishAnswer(answer: DeviceMessage, { session, access, context }: Asker, seq: number): void {
  const { counters, fanout } = context
  const confirm = seq > 0 ? () => session.confirm(seq) : undefined
  const allowed = !isReserved(answer.topic) && access.publish(answer.topic) === Reason.SUCCESS
  if (!allowed) confirm?.()
  if (!allowed || fanout.publish(answer, confirm) === 0) counters.droppedUnsubscribed++
}
