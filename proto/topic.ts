/** MQTT topic names and filters (MQTT 5.0 section 4.7). Sluice uses them for WebSocket devices and routes too. */

/** Longest topic in UTF-8 bytes (MQTT strings carry a 16-bit length). */
export const MAX_TOPIC_BYTES = 65535

/** True when `topic` may be published to: not empty, no wildcard, no NUL [MQTT-4.7.1-1, 4.7.3-1, 4.7.3-2]. */
export function isTopicName(topic: string): boolean {
  if (topic.length === 0 || topic.length > MAX_TOPIC_BYTES) return false
  for (let i = 0; i < topic.length; i++) {
    const c = topic.charCodeAt(i)
    if (c === 0x2b || c === 0x23 || c === 0) return false
  }
  return true
}

/** True when `filter` may be subscribed to: `+` alone in its level, `#` alone in the last one [MQTT-4.7.1-2, 4.7.1-3]. */
export function isTopicFilter(filter: string): boolean {
  if (filter.length === 0 || filter.length > MAX_TOPIC_BYTES) return false
  for (let i = 0; i < filter.length; i++) {
    const c = filter.charCodeAt(i)
    if (c === 0) return false
    if (c !== 0x2b && c !== 0x23) continue
    if (i > 0 && filter.charCodeAt(i - 1) !== 0x2f) return false
    if (c === 0x23 ? i !== filter.length - 1 : i + 1 < filter.length && filter.charCodeAt(i + 1) !== 0x2f) return false
  }
  return true
}

/** A shared subscription's parts, `undefined` when the filter is none, `'invalid'` when it is a malformed one [MQTT-4.8.2-1, 4.8.2-2]. */
export function parseShared(filter: string): { group: string; filter: string } | undefined | 'invalid' {
  if (!filter.startsWith('$share/')) return undefined
  const end = filter.indexOf('/', 7)
  if (end <= 7) return 'invalid'
  const group = filter.slice(7, end)
  const rest = filter.slice(end + 1)
  if (group.includes('+') || group.includes('#') || !isTopicFilter(rest)) return 'invalid'
  return { group, filter: rest }
}

/** True when `filter` matches `topic`. A leading wildcard never matches a topic that starts with `$` [MQTT-4.7.2-1]. */
export function topicMatches(filter: string, topic: string): boolean {
  const first = filter.charCodeAt(0)
  if (topic.charCodeAt(0) === 0x24 && (first === 0x2b || first === 0x23)) return false
  let f = 0
  let t = 0
  for (;;) {
    const c = filter.charCodeAt(f)
    if (c === 0x23) return true
    if (c === 0x2b) {
      while (t < topic.length && topic.charCodeAt(t) !== 0x2f) t++
      f++
    } else {
      while (f < filter.length && filter.charCodeAt(f) !== 0x2f) {
        if (t >= topic.length || filter.charCodeAt(f) !== topic.charCodeAt(t)) return false
        f++
        t++
      }
      if (t < topic.length && topic.charCodeAt(t) !== 0x2f) return false
    }
    if (f >= filter.length) return t >= topic.length
    // The filter goes on with a '/'; 'a/#' also matches 'a' itself.
    f++
    if (t >= topic.length) return filter.charCodeAt(f) === 0x23
    t++
  }
}
