// Generated from the Python types by `python -m nbkube.server.typescript`; do not edit.

/** What a run has left. */
export interface ArtifactList {
  readonly variables: readonly Variable[];
  readonly files: readonly RunFile[];
  readonly metrics: Readonly<Record<string, unknown>>;
}

/** What a place to run offers. `total` and `free` are the most that one node has, by resource. `hidden` names what
 * cannot be seen. */
export interface Capacity {
  readonly place: string;
  readonly source: string;
  readonly total: Readonly<Record<string, number>>;
  readonly free: Readonly<Record<string, number>>;
  readonly nodes: readonly NodeRoom[];
  readonly quotas: readonly QuotaRoom[];
  readonly storage_classes: readonly string[];
  readonly hidden: readonly string[];
}

/** How many objects were copied or moved. */
export interface Copied {
  readonly count: number;
}

/** Where to copy to. `move` removes the source afterwards; `replace` allows that there is something already. */
export interface CopyBody {
  readonly bucket: string;
  readonly key: string;
  readonly move?: boolean;
  readonly replace?: boolean;
}

/** Nothing to say but that it is done. */
export interface Empty {
}

/** An endpoint, and for a canary the version and its share (0 to 1; 0 ends it). */
export interface EndpointBody {
  readonly path?: string;
  readonly place?: string;
  readonly name: string;
  readonly version?: number;
  readonly share?: number;
}

/** A model that is being served, or was. `latencies` are seconds of the last answers; `answers` counts them.
 * 
 * `canary` is the version that gets the `share` of requests, 0 if there is none; `previous` is that of a rollback. */
export interface EndpointRow {
  readonly name: string;
  readonly version: number;
  readonly url: string;
  readonly phase: string;
  readonly started: number;
  readonly canary: number;
  readonly share: number;
  readonly shadow: number;
  readonly previous: number;
  readonly answers: number;
  readonly faults: number;
  readonly latencies: readonly number[];
  readonly message: string;
  readonly authenticated: boolean;
}

/** Why a step failed: `sentence` for people, the rest to find the place. */
export interface FailureView {
  readonly sentence: string;
  readonly kind: string;
  readonly type: string;
  readonly cell: number | null;
  readonly cell_id: string;
  readonly line: number | null;
  readonly traceback: string;
}

/** The body of every answer that is no success: a sentence, and the findings behind it. */
export interface Fault {
  readonly message: string;
  readonly problems?: readonly Problem[];
}

/** The beginning of a file for looking at: text, a table, or an image as base64 (`media` is its type). */
export interface FilePreview {
  readonly path: string;
  readonly size: number;
  readonly kind: "image" | "other" | "table" | "text";
  readonly media: string;
  readonly text: string;
  readonly rows: readonly (readonly string[])[];
  readonly cut: boolean;
}

/** Which file of a run. */
export interface FileQuery {
  readonly path?: string;
  readonly place?: string;
  readonly file: string;
}

/** `path`: a notebook or folder of the project whose runs are meant; by default the folder Jupyter serves. `place`:
 * the profile whose store is meant; by default the project's own. */
export interface InProject {
  readonly path?: string;
  readonly place?: string;
}

/** The server's version, the places (profiles) where a project's pipelines can be run, the `default` one, what is
 * wrong with their file, and the JSON Schema of a step's options. */
export interface Information {
  readonly version: string;
  readonly places: readonly Place[];
  readonly default: string;
  readonly fault: string;
  readonly option_schema: Readonly<Record<string, unknown>>;
}

/** Where a server is reached from the machine of the Jupyter server: an address with its token. */
export interface LabAddress {
  readonly url: string;
}

/** A server to be made, as `nbkube lab up` takes it: `workspace` is a claim, or new:SIZE[:CLASS]; `volumes` are
 * CLAIM:PATH or new:SIZE[:CLASS]:PATH; `gpu` is COUNT or DEVICE=COUNT. "" leaves a thing to the profile. */
export interface LabBody {
  readonly path?: string;
  readonly place?: string;
  readonly name: string;
  readonly image?: string;
  readonly cpu?: string;
  readonly memory?: string;
  readonly gpu?: string;
  readonly gpu_type?: string;
  readonly workspace: string;
  readonly volumes?: readonly string[];
}

/** The servers of a namespace, the volume claims that are there, and the image of a server that names none. */
export interface LabList {
  readonly labs: readonly LabRow[];
  readonly claims: readonly string[];
  readonly image: string;
}

/** A notebook server: `phase` is Ready, Starting, Waiting or Stopped, `reason` why it is not ready. */
export interface LabRow {
  readonly name: string;
  readonly phase: string;
  readonly reason: string;
  readonly image: string;
  readonly cpu: string;
  readonly memory: string;
  readonly devices: Readonly<Record<string, string>>;
  readonly workspace: string;
}

/** Which page: only names that begin with `prefix`; `after` is the `next` of the page before. */
export interface ListQuery {
  readonly path?: string;
  readonly place?: string;
  readonly bucket?: string;
  readonly key?: string;
  readonly prefix?: string;
  readonly after?: string;
  readonly limit?: number;
}

/** A piece of what a step has shown: text of a stream of a cell. Times in seconds since 1970. */
export interface LogPiece {
  readonly time: number;
  readonly stream: string;
  readonly text: string;
  readonly cell: number | null;
}

/** Which step's log, from which piece on (as the event ids of the stream say). */
export interface LogQuery {
  readonly path?: string;
  readonly place?: string;
  readonly step: string;
  readonly start?: number;
}

/** Whether a bucket or folder is new. */
export interface Made {
  readonly made: boolean;
}

/** The models of a project and its endpoints on this machine; `fault` says why there are none to be seen. */
export interface ModelList {
  readonly models: readonly ModelRow[];
  readonly endpoints: readonly EndpointRow[];
  readonly fault?: string;
}

/** A model with its versions, newest first. */
export interface ModelRow {
  readonly name: string;
  readonly versions: readonly VersionRow[];
}

/** Which server; `workspace`: delete the volume that was made for it, too. */
export interface NamedLab {
  readonly path?: string;
  readonly place?: string;
  readonly name: string;
  readonly workspace?: boolean;
}

/** A node, or this machine: amounts by resource (cores, bytes, devices); `free` is null where that is not visible.
 * `note` says why it takes no steps, "" if it does. */
export interface NodeRoom {
  readonly name: string;
  readonly total: Readonly<Record<string, number>>;
  readonly free: Readonly<Record<string, number>> | null;
  readonly note: string;
}

/** A notebook as it is in the editor: `content` is its JSON (outputs may be left out); none means the saved file. */
export interface NotebookBody {
  readonly path: string;
  readonly content?: Readonly<Record<string, unknown>> | null;
}

/** A cell of a notebook: its kind (code, markdown, raw) and its source. */
export interface NotebookCell {
  readonly kind: string;
  readonly source: string;
}

/** The beginning of a file. `text` is that of a text, or an image as base64 with its `media` type; `cut` says that
 * there is more. */
export interface ObjectPreview {
  readonly kind: "image" | "notebook" | "other" | "records" | "table" | "text";
  readonly size: number;
  readonly media?: string;
  readonly text?: string;
  readonly rows?: readonly (readonly string[])[];
  readonly cells?: readonly NotebookCell[];
  readonly records?: readonly RecordHead[];
  readonly cut?: boolean;
}

/** What is meant: all buckets (no `bucket`), a bucket (no `key`), a folder (`key` ends in "/") or an object. */
export interface ObjectQuery {
  readonly path?: string;
  readonly place?: string;
  readonly bucket?: string;
  readonly key?: string;
}

/** What is known of an object without reading it; `version` is "" where the bucket keeps none. */
export interface ObjectStat {
  readonly location: string;
  readonly key: string;
  readonly size: number;
  readonly modified: number | null;
  readonly etag: string;
  readonly type: string;
  readonly version: string;
  readonly writable: boolean;
}

/** A version of an object; `deleted` is the mark that a removal has left. */
export interface ObjectVersion {
  readonly id: string;
  readonly size: number;
  readonly modified: number | null;
  readonly latest: boolean;
  readonly deleted: boolean;
}

/** A notebook written for a step: `path` as Jupyter names it, the cell to go on at (its number in the run's
 * notebook, its id in both), and where its state may differ from the run's. */
export interface OpenedStep {
  readonly path: string;
  readonly cell: number;
  readonly cell_id: string;
  readonly doubts: readonly string[];
}

/** A part that has arrived, and its MD5. */
export interface Part {
  readonly etag: string;
}

/** Which part of which upload; parts count from 1. */
export interface PartQuery {
  readonly path?: string;
  readonly place?: string;
  readonly bucket?: string;
  readonly key?: string;
  readonly upload: string;
  readonly number: number;
}

/** All parts of an upload by their MD5, in order. */
export interface PartsBody {
  readonly upload: string;
  readonly parts: readonly string[];
}

/** `consumer` needs `names` of `producer`; without names it only comes after it. */
export interface PipelineEdge {
  readonly producer: string;
  readonly consumer: string;
  readonly names: readonly string[];
}

/** A parameter of the notebook. */
export interface PipelineParameter {
  readonly name: string;
  readonly type: string;
  readonly default: unknown;
  readonly help: string;
}

/** One step (one row, also where it is continued later): its cells by number, and its options as they are set. */
export interface PipelineStep {
  readonly name: string;
  readonly kind: "checks" | "metrics" | "setup" | "step";
  readonly cells: readonly number[];
  readonly after: readonly string[];
  readonly inputs: readonly StepInput[];
  readonly outputs: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

/** A notebook as a pipeline. `ready` is false if a problem is an error. `digest` is that of the content. */
export interface PipelineView {
  readonly name: string;
  readonly digest: string;
  readonly ready: boolean;
  readonly steps: readonly PipelineStep[];
  readonly edges: readonly PipelineEdge[];
  readonly parameters: readonly PipelineParameter[];
  readonly metrics: readonly string[];
  readonly problems: readonly Problem[];
}

/** Where a run can be carried out. `detail` says it in a sentence. */
export interface Place {
  readonly name: string;
  readonly engine: string;
  readonly detail: string;
}

/** Rows or a request for an endpoint, as JSON text. */
export interface PredictBody {
  readonly path?: string;
  readonly place?: string;
  readonly name: string;
  readonly data: string;
}

/** An endpoint's answer as JSON text, and the seconds it took. */
export interface Prediction {
  readonly answer: string;
  readonly seconds: number;
}

/** What would be sent, made by the server from the saved file. Nothing has been started. */
export interface Preview {
  readonly digest: string;
  readonly ready: boolean;
  readonly place: Place;
  readonly project: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly steps: readonly PreviewStep[];
  readonly problems: readonly Problem[];
}

/** A step as it will be run: `forecast` is known (an earlier result holds), run, or open (depends on a step that
 * has to be run first). */
export interface PreviewStep {
  readonly name: string;
  readonly forecast: "known" | "open" | "run";
  readonly image: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** A finding about a notebook. `cell` counts all cells from 1, `line` the cell's lines from 1. */
export interface Problem {
  readonly severity: "error" | "info" | "warning";
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly cell: number | null;
  readonly cell_id: string;
  readonly line: number | null;
}

/** Tags proposed for a notebook, in notebook order. */
export interface Proposal {
  readonly tags: readonly ProposedTag[];
}

/** Tags proposed for a cell (`number` counts all cells from 1), and why. */
export interface ProposedTag {
  readonly number: number;
  readonly id: string;
  readonly tags: readonly string[];
  readonly reason: string;
}

/** One resource of a quota. */
export interface QuotaRoom {
  readonly name: string;
  readonly resource: string;
  readonly used: number;
  readonly hard: number;
}

/** A feature of a record: bytes, float or int64, how many values it has, and the first of them as text. */
export interface RecordFeature {
  readonly name: string;
  readonly type: string;
  readonly count: number;
  readonly text: string;
}

/** A record of a TFRecord file: its bytes, and its features where it is a tf.train.Example. */
export interface RecordHead {
  readonly size: number;
  readonly features: readonly RecordFeature[];
}

/** How many objects are gone. */
export interface Removed {
  readonly count: number;
}

/** What to run, as it is saved: `digest` is that of the file a person has seen; another one is refused. `ticket`
 * is made up by the caller, to ask by it how far the start is. */
export interface RunBody {
  readonly path: string;
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly place?: string;
  readonly experiment?: string;
  readonly use_cache?: boolean;
  readonly digest?: string;
  readonly ticket?: string;
}

/** A run with its steps. `actions` are the verbs that can be applied now. */
export interface RunDetail {
  readonly summary: RunSummary;
  readonly steps: readonly StepRunView[];
  readonly edges: readonly PipelineEdge[];
  readonly actions: readonly string[];
}

/** A file that a run has made or changed; `kind` tells how it can be shown. */
export interface RunFile {
  readonly path: string;
  readonly size: number;
  readonly kind: "image" | "other" | "table" | "text";
}

/** What people write on a run; what is left out stays. */
export interface RunNotes {
  readonly labels?: readonly string[] | null;
  readonly note?: string | null;
}

/** Runs, the newest first; `next` is the id to give as `before` for the following page ("" at the end). */
export interface RunPage {
  readonly runs: readonly RunSummary[];
  readonly next: string;
  readonly total: number;
}

/** Which runs: of one experiment, in one phase, whose row holds a text, of this notebook alone. */
export interface RunQuery {
  readonly path?: string;
  readonly place?: string;
  readonly before?: string;
  readonly limit?: number;
  readonly experiment?: string;
  readonly phase?: string;
  readonly text?: string;
  readonly notebook?: boolean;
}

/** A run as a row of a list. Times are seconds since 1970, `seconds` its duration so far. `notebook` is relative
 * to the project's root. */
export interface RunSummary {
  readonly id: string;
  readonly notebook: string;
  readonly path: string;
  readonly name: string;
  readonly phase: "Cached" | "Cancelled" | "Failed" | "Paused" | "Pending" | "Running" | "Skipped" | "Succeeded" | "Unknown";
  readonly reason: string;
  readonly created: number;
  readonly started: number;
  readonly seconds: number;
  readonly done: number;
  readonly total: number;
  readonly current: string;
  readonly experiment: string;
  readonly place: string;
  readonly labels: readonly string[];
  readonly note: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly metrics: Readonly<Record<string, unknown>>;
}

/** What is to be served: by default the newest version. `trust` is the digest of a model that runs code. */
export interface ServeBody {
  readonly path?: string;
  readonly place?: string;
  readonly name: string;
  readonly version?: number;
  readonly workers?: number;
  readonly trust?: string;
}

/** Which start: the `ticket` that was given with it. */
export interface StartQuery {
  readonly ticket: string;
}

/** The id of a run that was started. */
export interface Started {
  readonly run: string;
}

/** What is being done before a run can begin (an image is built, files are sent); "" if nothing is known. */
export interface Starting {
  readonly doing: string;
}

/** Which step of a run. */
export interface StepBody {
  readonly step: string;
}

/** A variable and the step it comes from. */
export interface StepInput {
  readonly name: string;
  readonly source: string;
}

/** A step of a run. CPU time in seconds, memory in bytes. */
export interface StepRunView {
  readonly name: string;
  readonly step: string;
  readonly kind: string;
  readonly phase: "Cached" | "Cancelled" | "Failed" | "Paused" | "Pending" | "Running" | "Skipped" | "Succeeded" | "Unknown";
  readonly reason: string;
  readonly started: number;
  readonly seconds: number;
  readonly cpu_seconds: number;
  readonly peak_memory: number;
  readonly cached: boolean;
  readonly attempts: number;
  readonly cell: number | null;
  readonly cells: readonly number[];
  readonly cells_done: readonly number[];
  readonly after: readonly string[];
  readonly failure: FailureView | null;
}

/** `path`: a notebook or folder of the project; `place`: the profile whose server is meant, "" for its own. */
export interface StorageAt {
  readonly path?: string;
  readonly place?: string;
}

/** A bucket, folder or object. `location` is what a cell or command names it by; `modified` seconds since 1970;
 * `holds` says in a word what a name of the store stands for ("data set", "model", "run", ""). */
export interface StorageEntry {
  readonly kind: "bucket" | "folder" | "object" | "store";
  readonly name: string;
  readonly key: string;
  readonly location: string;
  readonly size: number | null;
  readonly modified: number | null;
  readonly holds: string;
}

/** Some of what is in a bucket or folder; `next` asks for the following page, "" at the end. `writable` is
 * false for the store, which only nbkube itself writes. */
export interface StoragePage {
  readonly entries: readonly StorageEntry[];
  readonly next: string;
  readonly writable: boolean;
}

/** A profile whose files can be looked at. `detail` says where they are. */
export interface StoragePlace {
  readonly name: string;
  readonly detail: string;
  readonly buckets: boolean;
  readonly default: boolean;
}

/** All places, the default one first; `fault` is what is wrong with the profiles' file. */
export interface StoragePlaces {
  readonly places: readonly StoragePlace[];
  readonly fault: string;
}

/** An upload under way: send the file in parts of `part` bytes; parts whose MD5 is in `there` need not be sent. */
export interface Upload {
  readonly upload: string;
  readonly part: number;
  readonly there: Readonly<Record<string, string>>;
}

/** A file that is to be uploaded: its bytes. */
export interface UploadBody {
  readonly size: number;
}

/** Which upload. */
export interface UploadQuery {
  readonly path?: string;
  readonly place?: string;
  readonly bucket?: string;
  readonly key?: string;
  readonly upload: string;
}

/** A variable that a step has left; `size` in bytes. */
export interface Variable {
  readonly name: string;
  readonly step: string;
  readonly type: string;
  readonly summary: string;
  readonly size: number;
}

/** Which version to make the newest again. */
export interface VersionBody {
  readonly version: string;
}

/** A version of a model. `takes` and `gives` describe tensors, `example` is rows as JSON text to try it with. */
export interface VersionRow {
  readonly version: number;
  readonly format: string;
  readonly created: number;
  readonly size: number;
  readonly digest: string;
  readonly run: string;
  readonly step: string;
  readonly source: string;
  readonly metrics: Readonly<Record<string, unknown>>;
  readonly takes: readonly string[];
  readonly gives: readonly string[];
  readonly example: string;
  readonly runs_code: boolean;
}

/** The versions of an object, the newest first. */
export interface Versions {
  readonly versions: readonly ObjectVersion[];
}
