// Builds dist/ with the TypeScript compiler. `--if-missing` is what `npm ci` runs: a package that was
// installed from the registry already carries its dist/ and brings no compiler.
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const entry = join(root, 'dist/agents/cli/main.js')
const require = createRequire(import.meta.url)

const compiler = () => {
  try {
    return require.resolve('typescript/bin/tsc')
  } catch {
    return undefined
  }
}

const tsc = compiler()
if (tsc === undefined) {
  if (process.argv.includes('--if-missing') && existsSync(entry)) process.exit(0)
  console.error('build: typescript is not installed. Run `npm ci` without --omit=dev, then `npm run build`.')
  process.exit(1)
}
// What a deleted or renamed source left behind would still run as a test.
for (const room of ['agents', 'gateway', 'proto', 'test']) {
  const from = join(root, 'dist', room)
  if (!existsSync(from)) continue
  for (const file of readdirSync(from, { recursive: true })) {
    if (!/\.(d\.ts|js|js\.map)$/.test(file) || file.startsWith('generated')) continue
    if (!existsSync(join(root, room, file.replace(/(\.d\.ts|\.js|\.js\.map)$/, '.ts')))) rmSync(join(from, file))
  }
}
const result = spawnSync(process.execPath, [tsc, '--project', join(root, 'tsconfig.json')], { stdio: 'inherit' })
// The generated Protobuf codec is JavaScript already.
cpSync(join(root, 'proto/generated'), join(root, 'dist/proto/generated'), { recursive: true })
if (result.status === 0 && existsSync(entry)) chmodSync(entry, 0o755)
process.exit(result.status ?? 1)
