import type {
  ArtifactList,
  Capacity,
  Empty,
  FilePreview,
  Information,
  LogPiece,
  NotebookBody,
  OpenedStep,
  PipelineView,
  Preview,
  Problem,
  Proposal,
  RunBody,
  RunDetail,
  RunNotes,
  RunPage,
  RunQuery,
  Started,
  Starting
} from './wire';

/** A project, by a path in it, and the profile whose store holds the runs that are meant ('' the project's own). */
export interface At {
  readonly path: string;
  readonly place: string;
}

/** An answer that is no success: what is wrong in a sentence, and the findings behind it. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 where the server was not reached. */
    readonly status: number,
    readonly problems: readonly Problem[] = []
  ) {
    super(message);
  }
}

/** How requests reach the server; given by whoever embeds this. */
export interface Transport {
  (path: string, init?: RequestInit): Promise<Response>;
}

/** A place in a log that is followed. */
export interface LogListener {
  pieces(found: readonly LogPiece[]): void;
  ended(): void;
  lost(reason: string): void;
}

/** The server's interface, typed. */
export class Api {
  constructor(protected readonly transport: Transport) {}

  information(path: string): Promise<Information> {
    return this.ask('GET', `information?${query({ path })}`);
  }

  pipeline(body: NotebookBody, signal?: AbortSignal): Promise<PipelineView> {
    return this.ask('POST', 'pipeline', body, signal);
  }

  proposal(body: NotebookBody): Promise<Proposal> {
    return this.ask('POST', 'proposal', body);
  }

  capacity(at: At): Promise<Capacity> {
    return this.ask('GET', `capacity?${query(at)}`);
  }

  preview(body: RunBody): Promise<Preview> {
    return this.ask('POST', 'preview', body);
  }

  start(body: RunBody): Promise<Started> {
    return this.ask('POST', 'runs', body);
  }

  starting(ticket: string): Promise<Starting> {
    return this.ask('GET', `starting?${query({ ticket })}`);
  }

  runs(wanted: RunQuery): Promise<RunPage> {
    return this.ask('GET', `runs?${query({ ...wanted })}`);
  }

  run(run: string, at: At): Promise<RunDetail> {
    return this.ask('GET', `runs/${run}?${query(at)}`);
  }

  act(run: string, at: At, verb: 'stop' | 'pause' | 'resume'): Promise<RunDetail> {
    return this.ask('POST', `runs/${run}/${verb}?${query(at)}`);
  }

  annotate(run: string, at: At, notes: RunNotes): Promise<RunDetail> {
    return this.ask('PATCH', `runs/${run}?${query(at)}`, notes);
  }

  remove(run: string, at: At): Promise<Empty> {
    return this.ask('DELETE', `runs/${run}?${query(at)}`);
  }

  /** Write a notebook that goes on where a step began, or failed. */
  openStep(run: string, at: At, step: string): Promise<OpenedStep> {
    return this.ask('POST', `runs/${run}/open?${query(at)}`, { step });
  }

  artifacts(run: string, at: At): Promise<ArtifactList> {
    return this.ask('GET', `runs/${run}/artifacts?${query(at)}`);
  }

  file(run: string, at: At, file: string): Promise<FilePreview> {
    return this.ask('GET', `runs/${run}/file?${query({ ...at, file })}`);
  }

  /** The whole of a file that a run has made. */
  async content(run: string, at: At, file: string): Promise<Blob> {
    return (await this.fetch('GET', `runs/${run}/content?${query({ ...at, file })}`)).blob();
  }

  /** A run's report: a page without scripts. */
  async report(run: string, at: At): Promise<string> {
    return (await this.fetch('GET', `runs/${run}/report?${query(at)}`)).text();
  }

  /** Follow what a step shows; goes on after a break where it was. Returns what ends the following. */
  follow(run: string, at: At, step: string, listener: LogListener): () => void {
    const control = new AbortController();
    void this.read(run, at, step, listener, control.signal);
    return () => control.abort();
  }

  private async read(run: string, at: At, step: string, to: LogListener, signal: AbortSignal): Promise<void> {
    let start = 0;
    let pause = 500;
    while (!signal.aborted) {
      try {
        const address = `runs/${run}/log?${query({ ...at, step, start })}`;
        const answer = await this.fetch('GET', address, undefined, signal);
        const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
        let rest = '';
        for (;;) {
          const { done, value } = await reader.read();
          if (done) {
            break;
          }
          pause = 500;
          const events = (rest + value).split('\n\n');
          rest = events.pop()!;
          const found: LogPiece[] = [];
          let ended = false;
          for (const event of events) {
            const fields = new Map(event.split('\n').map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
            start = Number(fields.get('id') ?? start);
            if (fields.get('event') === 'log') {
              found.push(...(JSON.parse(fields.get('data')!) as LogPiece[]));
            }
            ended ||= fields.get('event') === 'end';
          }
          if (found.length) {
            to.pieces(found);
          }
          if (ended) {
            to.ended();
            return;
          }
        }
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        if (error instanceof ApiError && error.status >= 400 && error.status < 500) {
          to.lost(error.message);
          return;
        }
        to.lost('The server cannot be reached; trying again.');
      }
      await new Promise(resolve => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, 10_000);
    }
  }

  /** Ask for what the parts that are loaded later know the types of. */
  send<T>(method: 'GET' | 'POST', path: string, values: object): Promise<T> {
    return method === 'GET' ? this.ask('GET', `${path}?${query(values)}`) : this.ask('POST', path, values);
  }

  protected async ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    return (await (await this.fetch(method, path, body, signal)).json()) as T;
  }

  protected async fetch(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    const init: RequestInit = { method };
    if (body instanceof Blob) {
      init.body = body;
      init.headers = { 'Content-Type': 'application/octet-stream' };
    } else if (body !== undefined) {
      init.body = JSON.stringify(body);
    }
    if (signal) {
      init.signal = signal;
    }
    let answer: Response;
    try {
      answer = await this.transport(path, init);
    } catch (error) {
      if (signal?.aborted) {
        throw error;
      }
      throw new ApiError('The Jupyter server cannot be reached.', 0);
    }
    if (answer.ok) {
      return answer;
    }
    let fault: { message?: string; problems?: readonly Problem[] } = {};
    try {
      fault = await answer.json();
    } catch {
      // An answer of something between us and the server, such as a proxy.
    }
    const known = answer.status === 404 && !fault.message ? 'This server has no nbkube. Install it beside JupyterLab.' : '';
    throw new ApiError(fault.message || known || `The server answered ${answer.status}.`, answer.status, fault.problems);
  }
}

/** Values as the query of an address; those that are empty are left out. */
export function query(values: object): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== '' && value !== false) {
      found.set(name, String(value));
    }
  }
  return found.toString();
}

/** What went wrong, in a sentence. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
