import { ApiError, reason, type Api, type At } from './api';
import { hasEnded } from './format';
import { Observable } from './observable';
import type { RunBody, RunDetail, RunNotes, RunSummary } from './wire';

export interface Filter {
  readonly text: string;
  readonly phase: string;
  /** Only runs of the notebook that is shown. */
  readonly notebook: boolean;
}

const PAGE = 100;
const POLL = 5000;

/** The runs of a project, kept up to date while somebody looks. */
export class RunsModel extends Observable {
  rows: readonly RunSummary[] = [];
  total = 0;
  fault = '';
  loading = false;
  filter: Filter = { text: '', phase: '', notebook: false };
  readonly details = new Map<string, RunDetail>();
  /** Runs that were asked for and are no longer there. */
  readonly gone = new Set<string>();
  /** Where the runs that have been shown lie: another notebook in front does not change that. */
  private readonly places = new Map<string, At>();
  private next = '';
  private where: At = { path: '', place: '' };
  private asked = 0;
  private readonly fetching = new Set<string>();
  private readonly stale = new Set<string>();
  private timer: ReturnType<typeof setInterval> | null = null;

  constructor(private readonly api: Api) {
    super();
  }

  /** Whether there are older runs that have not been listed. */
  get more(): boolean {
    return this.next !== '';
  }

  /** Whose runs these are: those of a project, in the store of one of its profiles. */
  get at(): At {
    return this.where;
  }

  /** Where one run lies. */
  atOf(run: string): At {
    return this.places.get(run) ?? this.where;
  }

  /** Show the runs of another project or place. */
  look(at: Partial<At>): void {
    const next = { ...this.where, ...at };
    if (next.path !== this.where.path || next.place !== this.where.place) {
      this.rows = next.place === this.where.place ? this.rows : [];
      this.where = next;
      void this.refresh();
    }
  }

  /** Look for other runs. */
  find(filter: Partial<Filter>): void {
    this.filter = { ...this.filter, ...filter };
    void this.refresh();
  }

  /** List the newest runs. */
  async refresh(): Promise<void> {
    await this.load('', []);
  }

  /** List older runs, too. */
  async loadMore(): Promise<void> {
    if (this.next && !this.loading) {
      await this.load(this.next, this.rows);
    }
  }

  private async load(before: string, known: readonly RunSummary[]): Promise<void> {
    const turn = ++this.asked;
    this.loading = true;
    this.changed();
    try {
      const page = await this.api.runs({ ...this.where, before, limit: PAGE, ...this.filter });
      if (turn !== this.asked) {
        return;
      }
      this.rows = [...known, ...page.runs];
      this.next = page.next;
      this.total = page.total;
      this.fault = '';
    } catch (error) {
      if (turn !== this.asked) {
        return;
      }
      this.fault = reason(error);
    }
    this.loading = false;
    this.changed();
    this.poll();
  }

  /** A run has moved on. */
  moved(run: string): void {
    const known = this.rows.some(row => row.id === run);
    if (known || this.details.has(run)) {
      void this.fetch(run);
    } else if (!this.filter.text && !this.filter.phase) {
      void this.refresh();
    }
  }

  /** The newest run of a notebook. */
  latest(path: string): RunSummary | undefined {
    return this.rows.find(row => row.path === path);
  }

  /** Fetch a run's steps; further calls meanwhile lead to one more fetch. */
  async fetch(run: string): Promise<void> {
    if (this.fetching.has(run)) {
      this.stale.add(run);
      return;
    }
    this.fetching.add(run);
    const at = this.atOf(run);
    try {
      const detail = await this.api.run(run, at);
      this.places.set(run, at);
      this.take(detail);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        this.forget(run);
      } else {
        this.fault = reason(error);
        this.changed();
      }
    } finally {
      this.fetching.delete(run);
    }
    if (this.stale.delete(run)) {
      void this.fetch(run);
    }
  }

  async start(body: RunBody): Promise<string> {
    const { run } = await this.api.start(body);
    this.where = { path: body.path, place: body.place ?? '' };
    await this.refresh();
    await this.fetch(run);
    return run;
  }

  async act(run: string, verb: 'stop' | 'pause' | 'resume'): Promise<void> {
    this.take(await this.api.act(run, this.atOf(run), verb));
  }

  async annotate(run: string, notes: RunNotes): Promise<void> {
    this.take(await this.api.annotate(run, this.atOf(run), notes));
  }

  async remove(run: string): Promise<void> {
    await this.api.remove(run, this.atOf(run));
    this.forget(run);
  }

  private take(detail: RunDetail): void {
    const { id } = detail.summary;
    this.gone.delete(id);
    this.details.set(id, detail);
    this.fault = '';
    this.rows = this.rows.map(row => (row.id === id ? detail.summary : row));
    this.changed();
    this.poll();
  }

  private forget(run: string): void {
    this.details.delete(run);
    this.gone.add(run);
    this.rows = this.rows.filter(row => row.id !== run);
    this.changed();
  }

  /** Events may be lost with the connection: while a run goes on, look every few seconds, too. */
  private poll(): void {
    const going = this.rows.some(row => !hasEnded(row.phase)) || this.fault !== '';
    if (going && this.timer === null) {
      this.timer = setInterval(() => {
        if (typeof document !== 'undefined' && document.hidden) {
          return;
        }
        if (this.fault) {
          void this.refresh();
        }
        for (const row of this.rows.slice(0, 50).filter(one => !hasEnded(one.phase))) {
          void this.fetch(row.id);
        }
      }, POLL);
    } else if (!going && this.timer !== null) {
      clearInterval(this.timer);
      this.timer = null;
    }
  }
}
