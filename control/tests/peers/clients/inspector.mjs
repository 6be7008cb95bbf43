// The MCP Inspector's command line, one process a step.
// node inspector.mjs <url> [--mode legacy|auto|modern] [--fixture <prefix>] [--everything <prefix>] [--header 'Name: value']
// It has no way to be asked by a server or to cancel, so it holds only the plain part of the conversation of steps.mjs.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { arguments_, step } from './steps.mjs';

const given = arguments_();
const binary = fileURLToPath(new URL('../node_modules/.bin/mcp-inspector', import.meta.url));
const era = given.mode === 'default' ? [] : ['--protocol-era', given.mode];
const headers = Object.entries(given.headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]);

async function inspect(method, ...rest) {
  const args = ['--cli', given.url.href, '--transport', 'http', ...era, ...headers, '--method', method, ...rest];
  const { stdout } = await promisify(execFile)(binary, args, { maxBuffer: 16 * 1024 * 1024 });
  return JSON.parse(stdout);
}

const call = (name, ...pairs) => inspect('tools/call', '--tool-name', name, ...pairs.flatMap((pair) => ['--tool-arg', pair]));
const text = (result) => ({ text: result.content.find((block) => block.type === 'text').text });

await step('list', async () => ({ tools: (await inspect('tools/list')).tools.map((tool) => tool.name) }));
if (given.fixture !== undefined) {
  const prefix = given.fixture;
  await step('call', async () => text(await call(`${prefix}echo`, 'message=hello')));
  await step('structured', async () => (await call(`${prefix}add`, 'a=2', 'b=3')).structuredContent);
  await step('tool_error', async () => {
    // The Inspector prints the result and exits with a status of its own for a tool that fails.
    const failure = await call(`${prefix}test_error_handling`).catch((error) => JSON.parse(error.stdout));
    return { isError: failure.isError };
  });
  await step('prompt', async () => {
    const prompt = await inspect('prompts/get', '--prompt-name', `${prefix}test_prompt_with_arguments`, '--prompt-args', 'arg1=one', 'arg2=two');
    return { text: prompt.messages[0].content.text };
  });
  await step('read', async () => {
    const { resources } = await inspect('resources/list');
    const { uri } = resources.find(({ uri }) => uri.includes('static-text'));
    return { text: (await inspect('resources/read', '--uri', uri)).contents[0].text };
  });
}
if (given.everything !== undefined) {
  await step('everything_call', async () => text(await call(`${given.everything}echo`, 'message=hello')));
}
