"""The Python SDK (`mcp`): both eras.

python python.py <url> [--mode auto|legacy|2026-07-28] [--fixture PREFIX] [--everything PREFIX] [--header 'Name: value'] [--patient]

Holds the conversation of steps.mjs, step by step and under the same names; prints one JSON line a step.
`auto`, the SDK's default, asks `server/discover` first.
"""

import argparse
import json
import logging
import uuid
import warnings

import anyio
import mcp_types as types
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

# As in steps.mjs.
STEP_TIMEOUT_SECONDS = 60

MODERN = "2026-07-28"


async def model_answer(context, params):
    last = params.messages[-1].content
    heard = (last[0] if isinstance(last, list) else last).text
    return types.CreateMessageResult(
        role="assistant",
        model="test-model",
        stop_reason="endTurn",
        content=types.TextContent(type="text", text=f"heard: {heard}"),
    )


async def user_answer(context, params):
    def fill(name, schema):
        if "default" in schema:
            return schema["default"]
        if "enum" in schema:
            return schema["enum"][0]
        if "oneOf" in schema:
            return schema["oneOf"][0]["const"]
        if schema.get("type") == "boolean":
            return True
        if schema.get("type") in ("integer", "number"):
            return schema.get("minimum", 1)
        if schema.get("type") == "array":
            return []
        formats = {"email": "ada@example.com", "uri": "https://example.com/", "date": "2026-07-28"}
        return formats.get("email" if name == "email" else schema.get("format"), "ada")

    properties = params.requested_schema["properties"]
    return types.ElicitResult(action="accept", content={name: fill(name, schema) for name, schema in properties.items()})


class Notifications:
    """Lets a step wait for the first notification of a kind."""

    def __init__(self):
        self.resource_updated = anyio.Event()
        self.tools_changed = anyio.Event()
        self.updated_uri = None

    async def __call__(self, message):
        if isinstance(message, types.ResourceUpdatedNotification):
            self.updated_uri = str(message.params.uri)
            self.resource_updated.set()
        elif isinstance(message, types.ToolListChangedNotification):
            self.tools_changed.set()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--mode", default="auto")
    parser.add_argument("--fixture")
    parser.add_argument("--everything")
    parser.add_argument("--patient", action="store_true")
    parser.add_argument("--header", action="append", default=[])
    given = parser.parse_args()

    headers = dict((part.strip() for part in line.split(":", 1)) for line in given.header)
    notifications = Notifications()
    async with create_mcp_http_client(headers=headers) as http:
        client = Client(
            streamable_http_client(given.url, http_client=http),
            mode=given.mode,
            sampling_callback=model_answer,
            elicitation_callback=user_answer,
            message_handler=notifications,
            client_info=types.Implementation(name="python", version="1"),
            read_timeout_seconds=STEP_TIMEOUT_SECONDS,
        )
        try:
            await client.__aenter__()
        except BaseException as error:
            emit("connect", error=root(error))
            return
        info = client.server_info
        era = "modern" if client.protocol_version >= MODERN else "legacy"
        emit("connect", {"era": era, "revision": client.protocol_version, "server": info.name if info else None})
        await step("list", lambda: tool_names(client), wrap=lambda names: {"tools": names})
        if given.fixture is not None:
            await with_fixture(client, notifications, given.fixture, given.patient)
        if given.everything is not None:
            await with_everything(client, given.everything)
        try:
            # Not a step: the client's own scopes must close in the order they were opened.
            await client.__aexit__(None, None, None)
            emit("close", {})
        except Exception as error:
            emit("close", error=root(error))


async def with_fixture(client, notifications, prefix, patient):
    def call(name, arguments=None, **options):
        return client.call_tool(prefix + name, arguments or {}, **options)

    async def unknown_tool():
        try:
            return {"isError": bool((await call("no_such_tool")).is_error)}
        except MCPError as error:
            return {"code": error.error.code}

    async def prompt():
        result = await client.get_prompt(f"{prefix}test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
        return {"text": result.messages[0].content.text}

    async def read():
        result = await client.read_resource(await resource(client, "static-text"))
        return {"text": result.contents[0].text}

    async def progress():
        seen = []

        async def on_progress(progress, total, message):
            seen.append(progress)

        await call("test_tool_with_progress", progress_callback=on_progress)
        return {"seen": seen}

    async def cancel():
        label = str(uuid.uuid4())
        with anyio.CancelScope() as scope:

            async def on_progress(progress, total, message):
                scope.cancel()

            await call("test_wait", {"label": label, "ms": 30_000}, progress_callback=on_progress)
        report = await call("test_wait_report", {"label": label, "await_cancelled": True})
        return {"ended": "rejected" if scope.cancelled_caught else "answered", **report.structured_content}

    async def watch():
        uri = await resource(client, "watched-resource")
        before = set(await tool_names(client))

        async def trigger():
            await call("test_trigger_resource_update")
            while patient and not notifications.resource_updated.is_set():
                with anyio.move_on_after(0.25):
                    await notifications.resource_updated.wait()
                    break
                await call("test_trigger_resource_update")
            await notifications.resource_updated.wait()
            await call("test_trigger_tool_change")
            await notifications.tools_changed.wait()

        if client.protocol_version >= MODERN:
            async with client.listen(tools_list_changed=True, resource_subscriptions=[uri]):
                await trigger()
        else:
            await client.subscribe_resource(uri)
            await trigger()
            await client.unsubscribe_resource(uri)
        after = set(await tool_names(client))
        return {"same": notifications.updated_uri == uri, "difference": sorted(before ^ after)}

    async def view():
        seen = (await call("test_request_view")).structured_content
        return {
            "modern": seen["modern"],
            "revision": seen["revision"],
            "authorization": seen["headers"].get("authorization"),
        }

    await step("call", lambda: call("echo", {"message": "hello"}), wrap=as_text)
    await step("structured", lambda: call("add", {"a": 2, "b": 3}), wrap=lambda result: result.structured_content)
    await step("tool_error", lambda: call("test_error_handling"), wrap=lambda result: {"isError": result.is_error})
    await step("unknown_tool", unknown_tool)
    await step("header", lambda: call("test_custom_header", {"region": "eu-north"}), wrap=as_text)
    await step("prompt", prompt)
    await step("read", read)
    await step("progress", progress)
    await step("sampling", lambda: call("test_sampling", {"prompt": "two plus two"}), wrap=as_text)
    await step("elicitation", lambda: call("test_elicitation", {"message": "Who?"}), wrap=as_text)
    await step("two_rounds", lambda: call("test_input_required_result_multi_round"), wrap=as_text)
    await step("cancel", cancel)
    await step("watch", watch)
    await step("view", view)


async def with_everything(client, prefix):
    def call(name, arguments=None, **options):
        return client.call_tool(prefix + name, arguments or {}, **options)

    async def progress():
        seen = []

        async def on_progress(progress, total, message):
            seen.append(progress)

        await call("trigger-long-running-operation", {"duration": 0.2, "steps": 2}, progress_callback=on_progress)
        return {"seen": seen}

    await step("everything_call", lambda: call("echo", {"message": "hello"}), wrap=as_text)
    await step(
        "everything_structured",
        lambda: call("get-structured-content", {"location": "New York"}),
        wrap=lambda result: result.structured_content,
    )
    await step("everything_progress", progress)
    await step("everything_sampling", lambda: call("trigger-sampling-request", {"prompt": "two plus two"}), wrap=as_text)
    await step("everything_elicitation", lambda: call("trigger-elicitation-request"), wrap=as_text)


async def tool_names(client):
    names, cursor = [], None
    while True:
        page = await client.list_tools(cursor=cursor)
        names += [tool.name for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            return names


async def resource(client, part):
    found = [str(entry.uri) for entry in (await client.list_resources()).resources if part in str(entry.uri)]
    if not found:
        raise LookupError(f"no resource whose URI contains {part}")
    return found[0]


def as_text(result):
    text = next((block.text for block in result.content if block.type == "text"), None)
    return {"text": f"isError: {text}" if result.is_error else text}


async def step(name, run, wrap=lambda detail: detail):
    try:
        with anyio.fail_after(STEP_TIMEOUT_SECONDS):
            emit(name, wrap(await run()))
    except Exception as error:
        emit(name, error=root(error))


def emit(step, detail=None, error=None):
    line = {"step": step, "ok": error is None}
    line |= {"detail": detail} if error is None else {"error": error}
    print(json.dumps(line), flush=True)


def root(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


# The SDK warns of what 2026-07-28 deprecates and logs what goes wrong; the lines above are the report.
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
anyio.run(main)
