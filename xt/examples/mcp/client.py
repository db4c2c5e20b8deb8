"""The official client in Python, with the newest version and with sessions. Prints a line of JSON for each."""

import asyncio
import json
import sys

from mcp import Client
from mcp.types import CreateMessageResult, TextContent


async def answer(context, params):
    text = params.messages[0].content.text.upper()
    return CreateMessageResult(role='assistant', model='x', content=TextContent(type='text', text=text))


async def seen(client, changed):
    progress = []

    async def report(done, total, message):
        progress.append(done)

    tools = (await client.list_tools()).tools
    await client.call_tool('test_tool_with_progress', {}, progress_callback=report)
    asked = await client.call_tool('test_sampling', {'prompt': 'hello'})
    await client.call_tool('test_trigger_tool_change', {})
    return {
        'version': client.protocol_version, 'tools': len(tools), 'progress': progress, 'text': asked.content[0].text,
        'changed': await changed(),
    }


async def main(url):
    async with Client(url, sampling_callback=answer) as client:
        async with client.listen(tools_list_changed=True) as subscription:
            async def changed():
                async for event in subscription:
                    return type(event).__name__ == 'ToolsListChanged'
            print(json.dumps(await seen(client, changed)))

    notified = asyncio.Event()

    async def take(message):
        if type(message).__name__ == 'ToolListChangedNotification':
            notified.set()

    async with Client(url, sampling_callback=answer, message_handler=take, mode='legacy') as client:
        async def changed():
            await notified.wait()
            return True
        print(json.dumps(await seen(client, changed)))


asyncio.run(main(sys.argv[1]))
