/** Opens many connections, a bounded number of handshakes at a time. */
export class Crowd<C> {
  readonly #total: number
  readonly #concurrent: number
  readonly #open: (number: number) => C
  readonly members: C[] = []
  ready = 0
  failed = 0
  /** `performance.now()` of the first and the last that became ready. */
  firstAt = 0
  lastAt = 0
  #settled: () => void = () => {}

  constructor(total: number, concurrent: number, open: (number: number) => C) {
    this.#total = total
    this.#concurrent = concurrent
    this.#open = open
  }

  /** Resolves when each one is ready or lost. */
  gather(): Promise<void> {
    return new Promise((resolve) => {
      this.#settled = resolve
      this.#more()
    })
  }

  became(ready: boolean): void {
    if (ready) {
      this.ready++
      this.lastAt = performance.now()
      if (this.ready === 1) this.firstAt = this.lastAt
    } else this.failed++
    if (this.ready + this.failed === this.#total) this.#settled()
    else this.#more()
  }

  #more(): void {
    while (this.members.length < this.#total && this.members.length - this.ready - this.failed < this.#concurrent)
      this.members.push(this.#open(this.members.length))
  }
}
