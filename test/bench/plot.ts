/** The first metric of every case as bars, in an SVG that reads on white and on black alike. */

import type { CaseResult, Row } from './interleaved.js'

const WIDTH = 860
const LABEL = 170
const BAR = 16
const GAP = 5
const TITLE = 30
const VALUE = 90

const STYLE = `
    text { font: 12px system-ui, sans-serif; fill: #24292f }
    .title { font-weight: 600; font-size: 13px }
    .unit { fill: #57606a }
    .ours { fill: #0969da }
    .peer { fill: #afb8c1 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .unit { fill: #9198a1 }
      .ours { fill: #4493f8 }
      .peer { fill: #57606a }
    }`

/** @returns a whole SVG document */
export function plot(cases: readonly CaseResult[]): string {
  const parts: string[] = []
  let y = 8
  for (const result of cases) {
    parts.push(...plotCase(result, y))
    y += TITLE + result.rows.filter((row) => firstValue(result, row) !== undefined).length * (BAR + GAP) + 10
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" role="img">`,
    '  <title>Sluice beside its peers, case by case</title>',
    `  <style>${STYLE}\n  </style>`,
    ...parts.map((part) => `  ${part}`),
    '</svg>',
    '',
  ].join('\n')
}

function plotCase(result: CaseResult, top: number): string[] {
  const metric = result.metrics[0]
  if (metric === undefined) return []
  const direction = metric.more ? 'more is better' : 'less is better'
  const heading = `<text class="title" x="0" y="${top + 14}">${escaped(result.title)} <tspan class="unit">${metric.name}, ${metric.unit}; ${direction}</tspan></text>`
  const values = result.rows.flatMap((row) => firstValue(result, row) ?? [])
  const most = Math.max(...values, 1)
  const rows = result.rows.filter((row) => firstValue(result, row) !== undefined)
  return [
    heading,
    ...rows.flatMap((row, i) => bar(row, firstValue(result, row) as number, most, top + TITLE + i * (BAR + GAP))),
  ]
}

function bar({ contender }: Row, value: number, most: number, y: number): string[] {
  const width = Math.max(1, Math.round((value / most) * (WIDTH - LABEL - VALUE)))
  const kind = contender.startsWith('Sluice') ? 'ours' : 'peer'
  const text = Math.round(value).toLocaleString('en')
  return [
    `<text x="${LABEL - 8}" y="${y + 12}" text-anchor="end">${escaped(contender)}</text>`,
    `<rect class="${kind}" x="${LABEL}" y="${y}" width="${width}" height="${BAR}" rx="2"/>`,
    `<text x="${LABEL + width + 6}" y="${y + 12}">${text}</text>`,
  ]
}

function firstValue({ metrics }: CaseResult, { values }: Row): number | undefined {
  const metric = metrics[0]
  return metric === undefined ? undefined : values[metric.name]
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
