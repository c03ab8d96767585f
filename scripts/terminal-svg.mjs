// Draws a terminal's text as an SVG for the README: `node scripts/terminal-svg.mjs 'npm start' < text > picture.svg`.
import { readFileSync } from 'node:fs'

const CELL = { width: 8.4, height: 20 }
const PAD = 16
const BAR = 34

const escapeXml = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c])

const title = process.argv[2] ?? ''
const lines = readFileSync(0, 'utf8').trimEnd().split('\n')
const columns = Math.max(80, ...lines.map((line) => line.length))
const width = Math.ceil(columns * CELL.width + 2 * PAD)
const height = BAR + lines.length * CELL.height + PAD

const row = (line, i) => {
  const y = BAR + (i + 0.8) * CELL.height
  const fill = line.startsWith('$ ') ? '#7ee787' : /^\d+ devices/.test(line) ? '#79c0ff' : '#e6edf3'
  return `<text x="${PAD}" y="${y.toFixed(1)}" fill="${fill}" xml:space="preserve">${escapeXml(line)}</text>`
}
const dots = ['#ff5f57', '#febc2e', '#28c840'].map(
  (fill, i) => `<circle cx="${PAD + 6 + i * 18}" cy="${BAR / 2}" r="5.5" fill="${fill}"/>`,
)

process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(title)} in a terminal">
<rect width="${width}" height="${height}" rx="8" fill="#0d1117"/>
${dots.join('')}
<text x="${width / 2}" y="${BAR / 2 + 4}" fill="#8b949e" font-family="system-ui, sans-serif" font-size="12" text-anchor="middle">${escapeXml(title)}</text>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14">
${lines.map(row).join('\n')}
</g>
</svg>
`)
