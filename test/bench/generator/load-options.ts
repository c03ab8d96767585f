/** The generator's flags: a subset of loadgen.c's, so that the harness starts either with the same words. */

import { parseArgs } from 'node:util'

export const COMMANDS = ['ws-echo', 'ws-fanout', 'ws-idle', 'mqtt-pubsub', 'mqtt-fanout', 'mqtt-idle'] as const
export type Command = (typeof COMMANDS)[number]

export interface LoadOptions {
  readonly command: Command
  readonly host: string
  readonly port: number
  readonly conns: number
  /** Bytes of payload where no `hex` is given. */
  readonly size: number
  /** Payload template. */
  readonly hex: Buffer | undefined
  /** Unanswered messages per connection, or per publisher. */
  readonly window: number
  /** Messages a second over all connections; 0: as fast as the window lets. */
  readonly rate: number
  /** Seconds. */
  readonly warm: number
  readonly secs: number
  readonly hold: number
  /** Handshakes at the same time. */
  readonly conc: number
  /** Processes to watch: CPU and resident memory. */
  readonly pids: readonly number[]
  /** `{i}` is the connection's number. */
  readonly path: string
  readonly pathSub: string
  readonly openHexSub: Buffer | undefined
  /** Frames that a connection swallows before it counts as ready. */
  readonly skip: number
  readonly skipSub: number
  /** Where in the payload the timestamp stands. */
  readonly tsOff: number
  /** ws-echo: number the frames (Sluice's `seq`) and acknowledge the answers. Not in loadgen.c. */
  readonly acked: boolean
  readonly pubs: number
  readonly subs: number
  readonly qos: 0 | 1
}

const TEXT = { type: 'string' } as const

/** @throws Error for an unknown flag or command */
export function readOptions(argv: readonly string[]): LoadOptions {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      host: { ...TEXT, default: '127.0.0.1' },
      port: { ...TEXT, default: '9001' },
      conns: { ...TEXT, default: '100' },
      size: { ...TEXT, default: '64' },
      hex: TEXT,
      window: { ...TEXT, default: '1' },
      rate: { ...TEXT, default: '0' },
      warm: { ...TEXT, default: '1' },
      secs: { ...TEXT, default: '5' },
      hold: { ...TEXT, default: '5' },
      conc: { ...TEXT, default: '256' },
      pid: { ...TEXT, default: '' },
      path: { ...TEXT, default: '/' },
      'path-sub': TEXT,
      'open-hex-sub': TEXT,
      skip: { ...TEXT, default: '0' },
      'skip-sub': { ...TEXT, default: '0' },
      'ts-off': { ...TEXT, default: '0' },
      acked: { type: 'boolean', default: false },
      pubs: { ...TEXT, default: '50' },
      subs: { ...TEXT, default: '50' },
      qos: { ...TEXT, default: '0' },
    },
  })
  const command = positionals[0] as Command
  if (!COMMANDS.includes(command)) throw new Error(`the command is one of ${COMMANDS.join(', ')}`)
  const fan = command === 'mqtt-fanout'
  return {
    command,
    host: values.host,
    port: Number(values.port),
    conns: Number(values.conns),
    size: Number(values.size),
    hex: fromHex(values.hex),
    window: Number(values.window),
    rate: Number(values.rate),
    warm: Number(values.warm),
    secs: Number(values.secs),
    hold: Number(values.hold),
    conc: Number(values.conc),
    pids: values.pid.split(',').filter(Boolean).map(Number),
    path: values.path,
    pathSub: values['path-sub'] ?? values.path,
    openHexSub: fromHex(values['open-hex-sub']),
    skip: Number(values.skip),
    skipSub: Number(values['skip-sub']),
    tsOff: Number(values['ts-off']),
    acked: values.acked,
    pubs: fan ? 1 : Number(values.pubs),
    subs: fan ? Number(values.conns) : Number(values.subs),
    qos: values.qos === '1' ? 1 : 0,
  }
}

function fromHex(hex: string | undefined): Buffer | undefined {
  return hex === undefined ? undefined : Buffer.from(hex, 'hex')
}
