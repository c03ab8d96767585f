/** A table on its way: which gateways serve it, which refused it, which have not answered. Pure. */

import type { GatewayView } from './fleet-view.js'
import { renderSpan } from './table-view.js'

/** What became of a table at one gateway. `late`: it has not answered yet. */
export interface GatewayAnswer {
  readonly id: string
  readonly tableVersion: number
  readonly outcome: 'served' | 'refused' | 'late' | 'away'
  /** Why it was refused. */
  readonly reason?: string
}

/** Above this many gateways those that serve the table are counted, not listed. */
const LISTED = 32

/** The answers of gateways to one version, as looks at the status tell them. */
export class Propagation {
  readonly #version: number
  readonly #answers = new Map<string, GatewayAnswer>()
  readonly #only: ReadonlySet<string> | undefined

  /** @param only gateways that it is meant for; all unless given */
  constructor(version: number, only?: readonly string[]) {
    this.#version = version
    this.#only = only === undefined ? undefined : new Set(only)
  }

  /**
   * Takes a look. Later tables carry this one's routes too, so a gateway that serves one of them has answered.
   * @param afterMs since the table was sent
   * @returns lines for what is new
   */
  look(gateways: readonly GatewayView[], afterMs: number): string[] {
    const concerned = gateways.filter(({ id }) => this.#only?.has(id) ?? true)
    for (const id of this.#answers.keys()) if (!concerned.some((one) => one.id === id)) this.#answers.delete(id)
    return concerned.flatMap((gateway) => {
      const before = this.#answers.get(gateway.id)?.outcome
      const answer = answerOf(gateway, this.#version)
      this.#answers.set(gateway.id, answer)
      return answer.outcome === before ? [] : lineOf(answer, afterMs, concerned.length)
    })
  }

  /** What every gateway answered so far. */
  get answers(): readonly GatewayAnswer[] {
    return [...this.#answers.values()]
  }

  /** True when nobody is left to wait for. */
  get settled(): boolean {
    return this.answers.every(({ outcome }) => outcome === 'served' || outcome === 'refused')
  }

  /** Those that do not serve it. */
  get behind(): readonly GatewayAnswer[] {
    return this.answers.filter(({ outcome }) => outcome !== 'served')
  }
}

function answerOf({ id, tableVersion, lastNack, connected }: GatewayView, version: number): GatewayAnswer {
  if (tableVersion >= version) return { id, tableVersion, outcome: 'served' }
  const nack = typeof lastNack === 'object' && lastNack !== null ? lastNack : undefined
  const reason = nack?.message ?? nack?.code
  // After any other refusal the coordinator sends a snapshot: the last word is not spoken.
  const final = nack?.code === 'table_rejected' && (nack.version ?? 0) >= version
  if (final) return { id, tableVersion, outcome: 'refused', ...(reason === undefined ? {} : { reason }) }
  return { id, tableVersion, outcome: connected === false ? 'away' : 'late' }
}

function lineOf({ id, tableVersion, outcome, reason }: GatewayAnswer, afterMs: number, of: number): string[] {
  if (outcome === 'served') return of > LISTED ? [] : [`  ${id} serves table ${tableVersion} (${renderSpan(afterMs)})`]
  if (outcome === 'refused')
    return [`  ${id} REFUSED it and serves table ${tableVersion} on: ${reason ?? 'no reason given'}`]
  return outcome === 'away' ? [`  ${id} is not connected; it gets the table when it is back`] : []
}

/** One sentence about the whole. */
export function renderOutcome(version: number, { behind, answers }: Pick<Propagation, 'behind' | 'answers'>): string {
  if (behind.length === 0) {
    return answers.length === 0
      ? `No gateway is there to serve table ${version}.`
      : `Every gateway serves table ${version}.`
  }
  const named = behind.slice(0, 8).map(({ id, outcome }) => `${id} (${WORDS[outcome]})`)
  const more = behind.length > 8 ? ` and ${behind.length - 8} more` : ''
  return `table ${version} is not served by ${behind.length} of ${answers.length} gateways: ${named.join(', ')}${more}`
}

const WORDS = { served: 'serves it', refused: 'refused it', late: 'has not answered', away: 'not connected' } as const
