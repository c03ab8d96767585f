// Adds the platform packages that npm left out of package-lock.json: run it after every `npm install`.
// npm drops an optional package from the lock when the registry in use does not serve it (a partial mirror does
// not carry other systems' binaries), and then refuses its own lock in `npm ci`. The added entries carry the exact
// version that their parent asks for; npm skips them on every other system, and fetches them by name where they fit.
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const file = join(dirname(dirname(fileURLToPath(import.meta.url))), 'package-lock.json')
const lock = JSON.parse(readFileSync(file, 'utf8'))
const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']

/** Reads a name such as `@biomejs/cli-linux-x64-musl`; undefined when it names no system and processor. */
const platformOf = (name) => {
  const parts = name.split('/').at(-1).split('-')
  const at = parts.findIndex((part) => SYSTEMS.includes(part))
  const cpu = parts[at + 1]
  if (at === -1 || cpu === undefined) return undefined
  const libc = parts.includes('musl') ? { libc: ['musl'] } : {}
  return { os: [parts[at]], cpu: [cpu], ...libc }
}

let added = 0
for (const entry of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`
    const platform = platformOf(name)
    if (lock.packages[path] !== undefined || platform === undefined || !/^\d/.test(version)) continue
    lock.packages[path] = { version, ...platform, ...(entry.dev ? { dev: true } : {}), optional: true }
    added++
  }
}
const byPath = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'))
lock.packages = Object.fromEntries(byPath)
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
console.log(`complete-lock: ${added} platform packages added`)
