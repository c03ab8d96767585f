/**
 * One coordinator a data directory: two of them would overwrite each other's state, each thinking that it decides.
 *
 * The lock is a file with the owner's process id and when that process began, so that a lock which a killed coordinator
 * left is told from a living one even if another process has its id by now, as process 1 of every container has. It
 * guards one machine: a directory that several machines mount is not protected.
 */

import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../../proto/errors.js'

/** Name of the file inside the data directory. */
export const LOCK_FILE = 'coordinator.lock'
/** Rounds of finding an old lock, removing it, and losing the race for the next one. */
const ATTEMPTS = 5

interface Owner {
  readonly pid: number
  /** What {@link beganAt} says of it; empty where the system does not tell. */
  readonly began: string
  readonly host: string
  /** Tells this lock from all others. */
  readonly key: string
}

/** What the lock has to know of processes. */
export interface ProcessTable {
  /** Of this process. */
  readonly pid: number
  /** True when a process has this id, whosever it is. */
  alive(pid: number): boolean
}

/** A held lock. */
export interface DataLock {
  /** Gives the directory free. */
  release(): Promise<void>
}

/**
 * Takes the directory for this process, and makes it when it is not there.
 * @throws SluiceError `conflict` naming the process that has it
 */
export async function lockDirectory(directory: string, processes: ProcessTable): Promise<DataLock> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, LOCK_FILE)
  const mine: Owner = { pid: processes.pid, began: await beganAt(processes.pid), host: hostname(), key: randomUUID() }
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await create(path, mine)) return { release: () => release(path, mine) }
    const owner = await read(path)
    if (owner !== undefined && (await lives(owner, processes))) throw taken(directory, owner)
    await remove(path, owner, mine)
  }
  throw new SluiceError('conflict', `data directory ${directory} is being taken by other coordinators`, {
    path: '--data',
  })
}

/** Makes the lock with its content in one step. False when there is one. */
async function create(path: string, owner: Owner): Promise<boolean> {
  const beside = `${path}.${owner.key}`
  await writeFile(beside, `${JSON.stringify(owner)}\n`, { mode: 0o600 })
  try {
    await link(beside, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(beside, { force: true })
  }
}

/** Removes a dead owner's lock, and nobody else's: another process may have taken its place a moment ago. */
async function remove(path: string, dead: Owner | undefined, mine: Owner): Promise<void> {
  const aside = `${path}.${mine.key}`
  try {
    await rename(path, aside)
    if ((await read(aside))?.key !== dead?.key) await link(aside, path)
  } catch {
    // It is gone, or there is a newer one: the next round sees.
  }
  await rm(aside, { force: true })
}

/** Undefined for a lock that is gone or damaged. */
async function read(path: string): Promise<Owner | undefined> {
  try {
    const { pid, began, host, key } = JSON.parse(await readFile(path, 'utf8'))
    return Number.isSafeInteger(pid) && pid > 0 ? { pid, began: String(began), host: String(host), key } : undefined
  } catch {
    return undefined
  }
}

async function lives({ pid, began, host }: Owner, processes: ProcessTable): Promise<boolean> {
  // Another container's processes cannot be seen from here; the lock of one that was replaced must not stand for ever.
  if (host !== hostname()) return false
  if (!processes.alive(pid)) return false
  const now = await beganAt(pid)
  return began === '' || now === '' ? pid !== processes.pid : now === began
}

/** When a process began, in the kernel's ticks since boot; empty where /proc is not, and for one that is dead. */
async function beganAt(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  // The second field is a name that may hold anything; state is field 3, start time field 22 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? 'dead' : (fields[19] ?? '')
}

async function release(path: string, mine: Owner): Promise<void> {
  if ((await read(path))?.key === mine.key) await rm(path, { force: true })
}

function taken(directory: string, { pid }: Owner): SluiceError {
  return new SluiceError(
    'conflict',
    `data directory ${directory} is in use by another coordinator, process ${pid}. ` +
      'Stop that one, or give this one a directory of its own with --data',
    { path: '--data' },
  )
}
