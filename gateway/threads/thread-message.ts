/** What a gateway's process and its threads tell each other, over Node's channel between processes. */

import type { RunGatewayOptions } from '../run-options.js'

/** What one thread can be asked about itself, and the whole gateway about all of them. */
export type Subject = 'unready' | 'status' | 'metrics'

/** Where the devices connect; the same for every thread. */
export interface ThreadUrls {
  readonly http: string
  readonly ws: string
  readonly mqtt: string
}

/** From a thread. `line` numbers its connections to the coordinator's relay: what belongs to an old one is dropped. */
export type FromThread =
  /** It can be spoken to: what is sent before a fork has loaded its program is lost. */
  | { readonly t: 'hello' }
  | { readonly t: 'listening'; readonly urls: ThreadUrls }
  | { readonly t: 'failed'; readonly message: string; readonly code: string }
  | { readonly t: 'dial'; readonly line: number }
  | { readonly t: 'send'; readonly line: number; readonly bytes: Uint8Array }
  | { readonly t: 'hang_up'; readonly line: number }
  /** Asks what all threads say. */
  | { readonly t: 'ask'; readonly id: number; readonly subject: Subject }
  /** Answers {@link ToThread} `question`. */
  | { readonly t: 'answer'; readonly id: number; readonly body: unknown }

/** What one thread is started with. */
export interface ThreadStart {
  readonly index: number
  /** All threads' peer URLs, by number. */
  readonly peers: readonly string[]
  readonly peerPort: number
  readonly options: RunGatewayOptions
}

/** To a thread. */
export type ToThread =
  | { readonly t: 'start'; readonly start: ThreadStart }
  | { readonly t: 'open'; readonly line: number }
  | { readonly t: 'receive'; readonly line: number; readonly bytes: Uint8Array }
  | { readonly t: 'lost'; readonly line: number; readonly reason: string }
  | { readonly t: 'question'; readonly id: number; readonly subject: Subject }
  /** Answers `ask`: what each thread said, by number; null for one that is not there. */
  | { readonly t: 'told'; readonly id: number; readonly bodies: readonly unknown[] }
  | { readonly t: 'close' }

/** The channel's end here. */
export interface Channel<Out> {
  send(message: Out): void
}
