/** What sessions need of routing. `gateway/route/` implements it; simulations bring their own. */

/** What a route can match of a session. */
export interface SessionAttributes {
  readonly device: string
  readonly protocol: string
  readonly gateway: string
  readonly region: string
  readonly headers: Readonly<Record<string, string>>
}

/** The routes as they are for one session. */
export interface SessionRoutes {
  /** Pool of a DATA frame without a topic; undefined when no route takes it. */
  readonly dataPool: string | undefined
  /** True when every frame of the session goes to `dataPool`, whatever its type and topic. */
  readonly constant: boolean
  pool(type: 'data' | 'publish', topic: string): string | undefined
  /** True when some frame of this session can go to `pool`. */
  reaches(pool: string): boolean
}

/** Routes of one table. */
export interface SessionRouter {
  /** True when a frame's own headers can change where it goes. */
  readonly byHeaders: boolean
  forSession(attributes: SessionAttributes): SessionRoutes
}
