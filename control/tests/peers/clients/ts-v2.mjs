// The TypeScript SDK, version 2 (`@modelcontextprotocol/client`): both eras.
// node ts-v2.mjs <url> [--mode default|auto|2026-07-28] [--fixture <prefix>] [--everything <prefix>] [--header 'Name: value']
// `default` opens with `initialize`; `auto` asks `server/discover` first; a revision is taken without asking.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { arguments_, hold, modelAnswer, userAnswer } from './steps.mjs';

const given = arguments_();
const versionNegotiation = { default: undefined, auto: { mode: 'auto' } }[given.mode];
const client = new Client(
  { name: 'ts-v2', version: '1' },
  {
    capabilities: { sampling: {}, elicitation: {} },
    versionNegotiation: given.mode.startsWith('20') ? { mode: { pin: given.mode } } : versionNegotiation,
  },
);
const transport = new StreamableHTTPClientTransport(given.url, { requestInit: { headers: given.headers } });
client.setRequestHandler('sampling/createMessage', async ({ params }) => modelAnswer(params));
client.setRequestHandler('elicitation/create', async ({ params }) => userAnswer(params));

await hold(
  {
    async connect() {
      await client.connect(transport);
      return {
        era: client.getProtocolEra(),
        revision: client.getNegotiatedProtocolVersion(),
        server: client.getServerVersion()?.name,
      };
    },
    tools: async () => (await client.listTools()).tools,
    resources: async () => (await client.listResources()).resources,
    call: (name, args, options) => client.callTool({ name, arguments: args }, options),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }),
    async watch(uri, { resourceUpdated, toolsChanged }) {
      client.setNotificationHandler('notifications/resources/updated', ({ params }) => resourceUpdated(params.uri));
      client.setNotificationHandler('notifications/tools/list_changed', () => toolsChanged());
      if (client.getProtocolEra() === 'modern') {
        const subscription = await client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
        return () => subscription.close();
      }
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    async close() {
      if (client.getProtocolEra() === 'legacy') await transport.terminateSession();
      await client.close();
    },
  },
  given,
);
