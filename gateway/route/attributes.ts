/** What a route can see of a session. */

/** Fixed when the session opens. */
export interface SessionAttributes {
  readonly device: string
  /** `websocket` or `mqtt`. */
  readonly protocol: string
  /** Id and region of the gateway that holds the session. */
  readonly gateway: string
  readonly region: string
  /** WebSocket upgrade headers and MQTT 5 user properties, under lower-case names. */
  readonly headers: Readonly<Record<string, string>>
}

/** The value of a header; undefined when the session has none of that name. Safe for names such as `constructor`. */
export function headerOf({ headers }: SessionAttributes, name: string): string | undefined {
  return Object.hasOwn(headers, name) ? headers[name] : undefined
}
