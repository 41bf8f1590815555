import { LabIcon } from '@jupyterlab/ui-components';

const PIPELINE = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161"><circle cx="12" cy="4" r="3"/><circle cx="5" cy="20" r="3"/><circle cx="19" cy="20" r="3"/>
  <path d="M11 6h2v4.2l5.6 6.3-1.5 1.3L12 12l-5.1 5.8-1.5-1.3L11 10.2z"/></g></svg>`;

const TAG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M3 4h9l9 9-8 8-9-9zm2 2v5.2l7.9 7.9 5.2-5.2L10.2 6zm3.2 1.2a1.6 1.6 0 1 1 0 3.2 1.6 1.6 0 0 1 0-3.2z"/></svg>`;

const STORAGE = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M4 4.5C4 3.1 7.6 2 12 2s8 1.1 8 2.5L18 20c0 1.1-2.7 2-6 2s-6-.9-6-2zm2.1 2.4L7.9 19.7c.6.3 2.1.7 4.1.7s3.5-.4 4.1-.7l1.8-12.8C16.4 7.2 14.3 7.4 12 7.4s-4.4-.2-5.9-.5z"/></svg>`;

export const storageIcon = new LabIcon({ name: 'nbkube:storage', svgstr: STORAGE });
export const pipelineIcon = new LabIcon({ name: 'nbkube:pipeline', svgstr: PIPELINE });
export const stepIcon = new LabIcon({ name: 'nbkube:step', svgstr: TAG });
