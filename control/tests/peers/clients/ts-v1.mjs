// The TypeScript SDK, version 1 (`@modelcontextprotocol/sdk`): sessions only.
// node ts-v1.mjs <url> [--fixture <prefix>] [--everything <prefix>] [--header 'Name: value']

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { arguments_, hold, modelAnswer, userAnswer } from './steps.mjs';

const given = arguments_();
const client = new Client({ name: 'ts-v1', version: '1' }, { capabilities: { sampling: {}, elicitation: {} } });
const transport = new StreamableHTTPClientTransport(given.url, { requestInit: { headers: given.headers } });
client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => modelAnswer(params));
client.setRequestHandler(ElicitRequestSchema, async ({ params }) => userAnswer(params));

await hold(
  {
    async connect() {
      await client.connect(transport);
      return { era: 'legacy', revision: transport.protocolVersion, server: client.getServerVersion()?.name };
    },
    tools: async () => (await client.listTools()).tools,
    resources: async () => (await client.listResources()).resources,
    call: (name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }),
    async watch(uri, { resourceUpdated, toolsChanged }) {
      client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => resourceUpdated(params.uri));
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => toolsChanged());
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    async close() {
      await transport.terminateSession();
      await client.close();
    },
  },
  given,
);
