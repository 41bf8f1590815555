/** Something that tells when it has changed. */
export class Observable {
  private readonly listeners = new Set<() => void>();

  /** Call `listener` on every change; returns what ends that. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Tell all listeners. */
  protected changed(): void {
    for (const listener of [...this.listeners]) {
      listener();
    }
  }
}
