/** Typed listeners; one that throws disturbs neither the others nor the caller. */

type Listeners<T> = { [E in keyof T]?: Set<T[E]> }

export class Emitter<T extends { [E in keyof T]: (argument: never) => void }> {
  readonly #listeners: Listeners<T> = {}
  readonly #failed: (error: unknown) => void
  #failing = false

  /** @param failed hears what listeners throw */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed
  }

  on<E extends keyof T>(event: E, listener: T[E]): () => void {
    const listeners = this.#listeners[event] ?? new Set<T[E]>()
    this.#listeners[event] = listeners
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }

  emit<E extends keyof T>(event: E, argument: Parameters<T[E]>[0]): void {
    for (const listener of [...(this.#listeners[event] ?? [])]) {
      try {
        listener(argument as never)
      } catch (error) {
        this.#fail(error)
      }
    }
  }

  /** A listener for errors that throws is not told of its own error. */
  #fail(error: unknown): void {
    if (this.#failing) return
    this.#failing = true
    this.#failed(error)
    this.#failing = false
  }
}
