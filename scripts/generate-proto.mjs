// Regenerates proto/generated/frame.{js,d.ts} from proto/frame.proto with protobufjs-cli.
// The result is committed: a build needs no code generator, and test/proto/frame.test.ts holds both together.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import cli from 'protobufjs-cli'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const out = process.argv[2] ?? join(root, 'proto/generated')
mkdirSync(out, { recursive: true })
const js = join(out, 'frame.js')
await promisify(cli.pbjs.main)([
  ...[
    '-t',
    'static-module',
    '-w',
    'es6',
    '--no-create',
    '--no-verify',
    '--no-delimited',
    '--no-service',
    '--force-number',
  ],
  ...['-o', js, join(root, 'proto/frame.proto')],
])
const types = join(out, 'frame.d.ts')
await promisify(cli.pbts.main)(['-o', types, js])
// pbts writes CommonJS import syntax for `long`, which an ES module may not use; we generate with --force-number.
writeFileSync(types, readFileSync(types, 'utf8').replace('import Long = require("long");', 'type Long = never;'))
