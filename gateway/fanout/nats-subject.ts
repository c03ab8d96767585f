/**
 * MQTT topics and filters as NATS subjects. A level becomes a token: letters, digits, `-` and `_` stand for themselves,
 * every other UTF-8 byte becomes `=` and two hex digits, an empty level becomes `=` alone. So `.`, `*`, `>`, spaces and
 * anything else that NATS gives a meaning may occur in a topic, and a token is also valid in a key of a KV bucket.
 *
 *     topic   a/b c//d       m.a.b=20c.=.d
 *     filter  a/+/c          m.a.*.c
 *     filter  a/#            m.a  and  m.a.>       since `a/#` matches `a` too [MQTT 5.0, 4.7.1.2]
 *     filter  #              m.>
 *     topic   $SYS/x         d.=24SYS.x            apart, since `+` and `#` in the first level do not match it [MQTT-4.7.2-1]
 */

/** Longest subject that is used: a NATS server takes control lines of 4096 bytes. */
export const MAX_SUBJECT = 1024

/**
 * Where topics go whose own subject would be too long. Filters that could match them subscribe to it as well; the
 * receiver's own topic tree decides.
 */
export const LONG_SUBJECT = 'long'

const utf8 = new TextEncoder()

/** One level as a token. */
export function encodeLevel(level: string): string {
  if (level === '') return '='
  let token = ''
  for (const byte of utf8.encode(level)) {
    token += isPlain(byte) ? String.fromCharCode(byte) : `=${byte.toString(16).padStart(2, '0')}`
  }
  return token
}

/** A topic as dotted tokens, without prefix: a key of a KV bucket. Undefined when it is too long. */
export function topicKey(topic: string): string | undefined {
  // A level takes at least one character and a dot: most long ones need no encoding to be refused.
  if (topic.length > MAX_SUBJECT) return undefined
  const key = topic.split('/').map(encodeLevel).join('.')
  return key.length > MAX_SUBJECT ? undefined : key
}

/** The subject, below a prefix, that a message on `topic` is published to. */
export function topicSubject(topic: string): string {
  const key = topicKey(topic)
  return key === undefined ? LONG_SUBJECT : `${rootOf(topic)}.${key}`
}

/** The subjects, below a prefix, whose messages together are what `filter` matches; {@link LONG_SUBJECT} comes besides. */
export function filterSubjects(filter: string): string[] {
  if (filter.length > MAX_SUBJECT) return []
  const root = rootOf(filter)
  const levels = filter.split('/')
  const hash = levels[levels.length - 1] === '#'
  if (hash) levels.pop()
  const tokens = levels.map((level) => (level === '+' ? '*' : encodeLevel(level)))
  const plain = [root, ...tokens].join('.')
  if (plain.length > MAX_SUBJECT) return []
  if (!hash) return [plain]
  return tokens.length === 0 ? [`${plain}.>`] : [plain, `${plain}.>`]
}

function rootOf(text: string): string {
  return text.charCodeAt(0) === 0x24 ? 'd' : 'm'
}

function isPlain(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x2d ||
    byte === 0x5f
  )
}
