/** Workers that somebody wrote down. */

import type { DiscoveredMember, Discovery, OnMembers } from './discovery.js'

/** A list that never changes. */
export class StaticDiscovery implements Discovery {
  readonly name = 'static'
  readonly problem = undefined
  readonly #members: readonly DiscoveredMember[]

  constructor(members: readonly DiscoveredMember[]) {
    this.#members = members
  }

  start(onMembers: OnMembers): void {
    onMembers(this.#members)
  }

  async close(): Promise<void> {}
}
