import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { Transport } from './core/api';

/** Requests to this JupyterLab's server: with its token or cookie, and the XSRF header. */
export function transport(settings: ServerConnection.ISettings): Transport {
  return (path, init = {}) =>
    ServerConnection.makeRequest(
      URLExt.join(settings.baseUrl, 'nbkube', 'api', 'v1', '/') + path,
      { ...init, cache: 'no-store' },
      settings
    );
}
