import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { Transport } from './core/api';

/** Requests to this JupyterLab's server: with its token or cookie, and the XSRF header. */
export function transport(settings: ServerConnection.ISettings): Transport {
  return (path, init = {}) =>
    ServerConnection.makeRequest(
      URLExt.join(settings.baseUrl, 'nbkube', 'api', 'v1', '/') + path,
      // Not 'no-store', for which JupyterLab adds a number to the address; the server forbids keeping answers.
      { ...init, cache: 'no-cache' },
      settings
    );
}
