/** `sluice worker [HANDLER]`: one worker in this process. */

import { Command } from 'commander'
import { withConfigFlag } from '../config-flag.js'
import { coordinatorFlag, logFlag, port, tokenFlag, withListenFlags } from '../flags.js'
import { requireAuthBeyondLoopback } from '../listen-guard.js'
import { runRole } from '../role-process.js'

interface WorkerFlags {
  readonly coordinator: string
  /** False with `--no-register`. */
  readonly register: boolean
  readonly pool: string
  readonly id?: string
  readonly host: string
  readonly port: number
  readonly socket?: string
  readonly advertise?: string
  readonly weight: number
  readonly token?: string
  readonly insecure: boolean
  readonly logLevel: string
  readonly json: boolean
}

/** How long a drain may take after SIGTERM, in milliseconds; service managers wait about as long. */
const DRAIN_LIMIT_MS = 30_000

export function workerCommand(): Command {
  const command = new Command('worker')
    .description('run one worker; SIGTERM hands its sessions to the others of its pool first')
    .argument('[handler]', 'echo, or the path of a file (.ts or .js) that default-exports a handler', 'echo')
    .option('--pool <name>', 'pool to serve in', 'default')
    .option('--id <id>', 'name, unique in the fleet (a random one unless given)')
    .option('--port <port>', 'port for the gateways', port, 0)
    .option('--socket <path>', 'Unix socket for the gateways, instead of host and port')
    .option('--advertise <url>', 'what gateways are told to connect to, when it is not where this worker listens')
    .option('--weight <n>', 'relative capacity, 0 to 1000', Number, 1)
    .addOption(coordinatorFlag())
    .option('--no-register', 'register nowhere: the coordinator discovers it')
    .addOption(tokenFlag('secret of the fleet'))
    .addOption(logFlag())
    .option('--json', 'print one line of JSON when it is ready', false)
  return withConfigFlag(withListenFlags(command)).action((handler: string, flags: WorkerFlags) =>
    runRole(() => start(handler, flags), {
      json: flags.json,
      describe: ({ id, pool, link }) =>
        `Worker ${id} serves pool ${pool} at ${link}. Ctrl-C stops it, SIGTERM drains it first.`,
    }),
  )
}

async function start(handler: string, flags: WorkerFlags) {
  if (flags.socket === undefined) requireAuthBeyondLoopback('worker', flags)
  // Loaded here and not above: no other command has to wait for it.
  const [{ createWorker }, { loadHandler }, { pino }] = await Promise.all([
    import('../../worker/mod.js'),
    import('../../worker/run.js'),
    import('pino'),
  ])
  const { json: _json, insecure: _insecure, socket, coordinator, register, logLevel: level, ...rest } = flags
  const worker = await createWorker({
    ...rest,
    ...(register ? { coordinator } : {}),
    ...(socket === undefined ? {} : { socketPath: socket }),
    // Synchronous: an asynchronous one spins when its reader is gone.
    log: pino({ level, base: {} }, pino.destination({ dest: 2, sync: true })),
    handler: await loadHandler(handler),
  })
  return {
    ready: { id: worker.id, pool: worker.pool, link: worker.link },
    close: () => worker.close(),
    drain: async () => {
      let timer: NodeJS.Timeout | undefined
      const limit = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, DRAIN_LIMIT_MS)
      })
      await Promise.race([worker.drain(), limit])
      clearTimeout(timer)
    },
  }
}
